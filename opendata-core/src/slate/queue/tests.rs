use super::*;
use crate::error::ErrorKind;

#[tokio::test]
async fn who_has_a_place_when_the_queue_is_closed_is_answered() {
    let (_failed, failure) = watch::channel(None);
    let (queue, mut requests) = Queue::new(Arc::new(Settings::default()), failure);
    let place = queue.requests.reserve().await.unwrap();
    let committer = tokio::spawn(async move {
        let mut refused = 0;
        while let Some(request) = rest(&mut requests).await {
            refuse(Some(request), &Error::closed("test"));
            refused += 1;
        }
        refused
    });
    while !queue.requests.is_closed() {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let (reply, answer) = oneshot::channel();
    place.send(Request::Flush(reply));
    let answered = tokio::time::timeout(std::time::Duration::from_secs(30), answer).await;
    assert_eq!(answered.expect("nobody answers").unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(committer.await.unwrap(), 1);
    assert_eq!(queue.flush().await.unwrap_err().kind(), ErrorKind::Closed);
}
