//! The composition file that `opendata init` writes.

/// A commented file for one node with a log and a time series database.
pub(crate) fn render(store: &str, node: &str) -> String {
    format!(
        r#"# What lives where. `opendata --help` shows what can be done with it.
version: 1

# Where the data lies: file:./dir (relative to this file), s3://bucket/prefix, gs://bucket/prefix, az://container/prefix.
# In full:
#   store:
#     url: file:./data
#     local_durability: fsync       # or operating_system: faster, survives a crash of the process but not of the machine
#     cache_bytes: 536870912
store: {store}

nodes:
  # A node is a slate: everything in it is committed, read, checkpointed and forked together.
  {node}:
    # path: {node}                  # where in the store; the node's name by default
    # settings:
    #   flush_interval_ms: 100      # how long a write that nobody waits for may stay in memory
    instances:
      # name: system, or in full
      #   events:
      #     system: log
      #     config: {{retain_age_ms: 604800000}}
      events: log
      usage: tsdb

# server:
#   listen: 127.0.0.1:8080
#   default_tsdb: usage           # which one answers below /api/v1, if there are several; each answers below /v1/tsdb/NAME
"#,
        store = quoted(store),
    )
}

/// A YAML scalar: in quotes where it would not read as the same text without.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split(':').all(|part| part.chars().all(plain))
        && !text.ends_with(':');
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
