//! The race itself: a server passes it many times, and it can fail.

use object_store::PutMode;
use object_store::path::Path;

use super::race::{CLIENTS, START, check, one_winner};
use super::server::{Outcome, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_conditional_puts_one_wins() -> Outcome<()> {
    let Some(server) = Server::start("s3::races::of_twenty_conditional_puts_one_wins").await? else { return Ok(()) };
    check(&server, START.end..100).await
}

/// The check must be able to fail: a store without conditions has twenty winners.
#[tokio::test]
async fn the_race_sees_more_than_one_winner() {
    // Twenty stores that know nothing of each other behave like one that ignores conditions.
    let lax: Vec<_> = (0..CLIENTS).map(|_| object_store::memory::InMemory::new()).collect();
    let error = one_winner(&lax, &Path::from("x"), "absent", vec![PutMode::Create; CLIENTS]).await.unwrap_err();
    assert!(error.to_string().starts_with("20 clients won"), "{error}");
}
