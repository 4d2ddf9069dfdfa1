use super::*;

#[tokio::test]
async fn who_waited_while_a_piece_was_applied_looks_again() {
    let turn = Turn::default();
    let held = turn.wait(0).await.unwrap();
    let waiting = turn.wait(0);
    turn.applied();
    drop(held);
    assert!(waiting.await.is_none());
    assert!(turn.wait(turn.pieces()).await.is_some());
}

#[tokio::test]
async fn one_plans_at_a_time() {
    let turn = Turn::default();
    let held = turn.wait(0).await.unwrap();
    let mut waiting = std::pin::pin!(turn.wait(0));
    assert!(futures::poll!(&mut waiting).is_pending());
    // Given up: nothing was applied, so whoever waited goes on with what it has seen.
    drop(held);
    assert!(waiting.await.is_some());
}
