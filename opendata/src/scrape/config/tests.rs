use super::*;

fn load(text: &str) -> Result<Document> {
    let spec: Spec =
        serde_saphyr::from_str(text).map_err(|error| Error::invalid(error.without_snippet().to_string()))?;
    spec.load(Path::new("/there"))
}

#[test]
fn a_list_a_document_and_a_file_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prometheus.yml");
    let configs = "[{job_name: node, static_configs: [{targets: ['a:1']}], file_sd_configs: [{files: [t/*.json]}]}]";
    std::fs::write(
        &file,
        format!("scrape_configs: {configs}\nrule_files: [x.yml]\nremote_write: [{{url: 'http://x'}}]\n"),
    )
    .unwrap();
    let list = load(configs).unwrap();
    let document = load(&format!("{{scrape_configs: {configs}}}")).unwrap();
    assert_eq!(format!("{list:?}"), format!("{document:?}"));
    let from_file = Spec::File("prometheus.yml".into()).load(folder.path()).unwrap();
    let found = &from_file.scrape_configs[0];
    assert_eq!(found.file_sd_configs[0].files, [folder.path().join("t/*.json")]);
    assert_eq!(list.scrape_configs[0].file_sd_configs[0].files, [Path::new("/there/t/*.json")]);
    assert_eq!(
        (found.metrics_path.as_str(), found.scheme.as_str(), found.honor_timestamps),
        ("/metrics", "http", true)
    );
}

#[test]
fn intervals_come_from_the_job_or_from_all() {
    let document = load(
        "{global: {scrape_interval: 5s}, scrape_configs: [{job_name: a}, {job_name: b, scrape_interval: 1m, scrape_timeout: 20s, body_size_limit: 10MB}]}",
    )
    .unwrap();
    let times: Vec<_> = document
        .scrape_configs
        .iter()
        .map(|config| (config.interval(&document.global).as_ms(), config.timeout(&document.global).as_ms()))
        .collect();
    assert_eq!(times, [(5_000, 5_000), (60_000, 20_000)]);
    assert_eq!(document.scrape_configs[1].body_size_limit, Some(Size(10 << 20)));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, expected) in [
        ("[{job_name: a}, {job_name: a}]", "scrape: a job_name stands there twice, job_name=a"),
        ("[{job_name: ''}]", "scrape: a job_name is empty"),
        ("[{job_name: a, scrape_interval: 5s, scrape_timeout: 10s}]", "scrape_timeout must not be longer"),
        ("[{job_name: a, scheme: ftp}]", "scheme is http or https"),
        ("[{job_name: a, scrape_interval: soon}]", "not a duration"),
        ("[{job_name: a, kubernetes_sd_configs: []}]", "kubernetes_sd_configs"),
        ("[{job_name: a, body_size_limit: many}]", "not a size"),
        ("[{job_name: a, relabel_configs: [{action: hashmod, target_label: x}]}]", "needs a modulus"),
        ("[{job_name: a, bearer_token: x, basic_auth: {username: y}}]", "exclude one another"),
        ("[{job_name: a, authorization: {type: basic}}]", "is written as basic_auth"),
        ("nowhere.yml", "file cannot be read"),
    ] {
        let error = load(text).expect_err(text);
        assert!(error.message().contains(expected), "{text}: {}", error.message());
    }
}
