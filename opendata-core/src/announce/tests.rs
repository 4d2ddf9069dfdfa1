use std::sync::{Arc, Mutex};

use super::Announcer;

#[tokio::test]
async fn those_who_watch_are_told_in_the_order_in_which_they_came_and_that_the_end_has_come() {
    let announcer = Announcer::new(0);
    let told = Arc::new(Mutex::new(Vec::new()));
    let watchers: Vec<_> = (0..40)
        .map(|number| {
            let (mut watch, told) = (announcer.audience().watch(), Arc::clone(&told));
            tokio::spawn(async move {
                while watch.changed().await.is_ok() {
                    told.lock().unwrap().push((*watch.borrow_and_update(), number));
                }
                *watch.borrow()
            })
        })
        .collect();
    for value in 1..4 {
        tokio::task::yield_now().await;
        announcer.set(value);
        tokio::task::yield_now().await;
    }
    announcer.modify(|_| false);
    let audience = announcer.audience();
    drop(announcer);
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), 3);
    }
    let expected: Vec<_> = (1..4).flat_map(|value| (0..40).map(move |number| (value, number))).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(audience.now(), 3);
    assert!(audience.watch().changed().await.is_err(), "it has ended");
}
