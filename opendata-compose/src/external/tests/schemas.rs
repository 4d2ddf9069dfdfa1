//! Schemas of logs as a composition declares them: checked, registered, changed.

use super::*;
use crate::edge::schema::{self, SchemaSpec};
use crate::edge::spec::{StartFrom, Step};
use crate::edge::{EdgeSpec, Letter};
use crate::plan::Change;

fn declared(fields: &str) -> Composition {
    let mut spec = composition(&["a", "b"]);
    let schema: SchemaSpec = serde_json::from_str(fields).unwrap();
    spec.nodes.get_mut("a").unwrap().instances.get_mut("l").unwrap().schema = Some(schema);
    let filter = Step::Filter("payload.n > 1".to_owned());
    let edge = EdgeSpec { start: StartFrom::Oldest, ..EdgeSpec::new("a-b", ("a", "l"), ("b", "l")) };
    spec.edges.push(edge.transform([filter]));
    spec
}

async fn version(main: &ExternalComposite) -> Option<u32> {
    schema::latest(&main.node("a").unwrap().view(), "l").await.unwrap().map(|schema| schema.version())
}

#[tokio::test]
async fn a_declared_schema_is_registered_and_what_does_not_fit_is_kept_with_the_reason() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&declared(r#"{"n": "int64"}"#)).await.unwrap();
    assert_eq!(version(&main).await, Some(1));
    for payload in [r#"{"n": 2}"#, r#"{"n": "many"}"#, r#"{"n": 3, "more": true}"#] {
        append(&main.node("a").unwrap(), payload).await.unwrap();
    }
    main.wait_caught_up(Duration::from_secs(20)).await.unwrap();
    assert_eq!(payloads(&main.node("b").unwrap()).await, [r#"{"n": 2}"#, r#"{"n": 3, "more": true}"#]);
    let sink = main.node("b").unwrap();
    let letters = Letter::list(&sink.view(), "l", "a-b", None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].reason.contains("field n is not of type Int64"), "{letters:?}");
    main.close().await.unwrap();
    // Opened again nothing is registered again.
    let main = describe(&store, "p").open().await.unwrap();
    assert_eq!(version(&main).await, Some(1));
    main.close().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_edges_cannot_read_is_refused_and_one_that_breaks_what_was_read_only_goes_with_a_word() {
    let store = Store::from_url("memory:").unwrap();
    let main = describe(&store, "p").open_as(&declared(r#"{"n": "int32"}"#)).await.unwrap();
    let error = main.plan(&declared(r#"{"m": "int64"}"#)).await.unwrap_err();
    assert!(error.to_string().contains("edge a-b") && error.to_string().contains("no such field, field=n"), "{error}");

    let wider = main.plan(&declared(r#"{"n": "int64", "note": "string?"}"#)).await.unwrap();
    let expected = Change::ChangeSchema { node: "a".into(), instance: "l".into(), breaks: None };
    assert_eq!(wider.changes, [expected]);
    main.apply(&wider).await.unwrap();
    assert_eq!(version(&main).await, Some(2));

    let breaking = main.plan(&declared(r#"{"n": "int64", "note": "int64"}"#)).await.unwrap();
    assert!(breaking.loses_state() && breaking.to_string().starts_with("~ schema of a/l: breaks"), "{breaking}");
    assert_eq!(main.apply(&breaking).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(version(&main).await, Some(2));
    main.apply(&breaking.allow_loss()).await.unwrap();
    assert_eq!(version(&main).await, Some(3));
    main.close().await.unwrap();
}
