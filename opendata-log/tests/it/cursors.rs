//! Named cursors.

use opendata_core::{ErrorKind, Position};
use opendata_log::{Config, Hold};

use crate::bed::Bed;

#[tokio::test]
async fn a_cursor_is_kept_and_can_be_demanded() {
    let mut bed = Bed::new(Config::default()).await;
    let at = bed.append("s", "1").await;
    bed.commit(|op| _ = op.expect_cursor("c", None).set_cursor("c", at, Hold::No)).await.unwrap();
    bed.reopen().await;
    let error = bed.commit(|op| _ = op.expect_cursor("c", None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    bed.commit(|op| _ = op.expect_cursor("c", Some(at)).set_cursor("c", at.next(), Hold::Yes)).await.unwrap();
    for reader in [bed.reader(), bed.outside().await] {
        let cursor = reader.cursor("c").await.unwrap().unwrap();
        assert_eq!((cursor.position, cursor.hold), (at.next(), Hold::Yes));
        assert_eq!(reader.cursors().await.unwrap().len(), 1);
    }
    bed.commit(|op| _ = op.remove_cursor("c").remove_cursor("never there")).await.unwrap();
    assert_eq!(bed.reader().cursor("c").await.unwrap(), None);
    bed.commit(|op| _ = op.expect_cursor("c", None)).await.unwrap();
}

#[tokio::test]
async fn a_cursor_stands_inside_the_log() {
    let bed = Bed::new(Config::default()).await;
    let at = bed.append("s", "1").await;
    let beyond = Position(at.0 + 3);
    let error = bed.commit(|op| _ = op.set_cursor("c", beyond, Hold::No)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().starts_with("cursor beyond the end of the log, cursor=c"), "{error}");
    bed.commit(|op| _ = op.append("s", "2").append("s", "3").set_cursor("c", beyond, Hold::No)).await.unwrap();
    bed.commit(|op| _ = op.trim_all(beyond)).await.unwrap();
    let error = bed.commit(|op| _ = op.set_cursor("c", at, Hold::No)).await.unwrap_err();
    assert!(error.message().starts_with("cursor below the trim point, cursor=c"), "{error}");
}

#[tokio::test]
async fn what_a_cursor_holds_cannot_be_trimmed() {
    let bed = Bed::new(Config::default()).await;
    let first = bed.append("s", "1").await;
    let second = bed.append("s", "2").await;
    bed.commit(|op| _ = op.set_cursor("c", second, Hold::Yes)).await.unwrap();
    bed.commit(|op| _ = op.trim_all(second)).await.unwrap();
    for trim in [Position::MAX, second.next()] {
        let error = bed.commit(|op| _ = op.trim_all(trim)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let error = bed.commit(|op| _ = op.trim("s", trim)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    bed.commit(|op| _ = op.remove_cursor("c")).await.unwrap();
    bed.commit(|op| _ = op.trim_all(Position::MAX)).await.unwrap();
    assert_eq!(bed.reader().count("s").await.unwrap(), 0);
    assert!(bed.reader().trim_point().await.unwrap() > first);
}
