//! A store by its URL, as users open it: endpoint and credentials come from the environment.

use std::process::{Command, Stdio};

use object_store::ObjectStoreExt;
use object_store::path::Path;
use opendata_core::ErrorKind;
use opendata_core::slate::Slate;
use opendata_core::store::Store;
use opendata_core::testing::{Ledger, LedgerConfig};

use super::server::{BUCKET, Outcome, Server};

/// The environment of a process cannot be changed safely while it runs, so this one starts another with its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slate_lives_below_the_path_of_its_url() -> Outcome<()> {
    let Some(server) = Server::start("s3::url::a_slate_lives_below_the_path_of_its_url").await? else { return Ok(()) };
    let child = Command::new(std::env::current_exe()?)
        .args(["--exact", "s3::url::opens_the_url_of_its_environment", "--ignored", "--nocapture"])
        .env("OPENDATA_TEST_URL", format!("s3://{BUCKET}/team/prod"))
        .envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")])
        .envs([("AWS_ENDPOINT", server.endpoint()), ("AWS_ALLOW_HTTP", "true".to_owned())])
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    let manifest = Path::from("team/prod/billing/manifest/00000000000000000001.manifest");
    server.bucket()?.head(&manifest).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test above, in a process with an environment of its own"]
async fn opens_the_url_of_its_environment() -> Outcome<()> {
    let store = Store::from_url(&std::env::var("OPENDATA_TEST_URL")?)?;
    let missing = Slate::builder(&store, "billing").must_exist().open().await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let slate = Slate::builder(&store, "billing").system::<Ledger>("accounts", LedgerConfig::default()).open().await?;
    let accounts = slate.get::<Ledger>("accounts")?;
    let mut tx = slate.begin();
    tx.on(&accounts).add("seven", 7);
    tx.commit().await?;
    slate.close().await?;
    Ok(())
}
