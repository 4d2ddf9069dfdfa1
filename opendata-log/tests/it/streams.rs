//! Listing streams.

use bytes::Bytes;
use opendata_core::Position;
use opendata_log::{Config, Reader};

use crate::bed::Bed;

async fn pages(reader: &Reader, prefix: &str, limit: usize) -> Vec<Vec<Bytes>> {
    let mut pages = Vec::new();
    let mut after: Option<Bytes> = None;
    loop {
        let page = reader.streams(prefix, after.as_deref(), limit).await.unwrap();
        pages.push(page.streams);
        match page.next {
            Some(next) => after = Some(next),
            None => return pages,
        }
    }
}

#[tokio::test]
async fn streams_are_listed_in_pages_whatever_segment_they_are_in() {
    let bed = Bed::new(Config::default()).await;
    for segment in 0..3 {
        bed.commit(|op| {
            op.roll();
            for stream in 0..40 {
                op.append(format!("s{:03}", stream * 3 + segment), "x");
            }
            op.append("common", "x");
        })
        .await
        .unwrap();
    }
    let mut expected: Vec<Bytes> = (0..120).map(|stream| format!("s{stream:03}").into()).collect();
    expected.insert(0, "common".into());
    let check = async |reader: Reader| {
        for limit in [1, 7, 121, 1000] {
            assert_eq!(pages(&reader, "", limit).await.concat(), expected);
        }
        assert_eq!(pages(&reader, "s05", 4).await.concat(), &expected[51..61]);
        assert_eq!(pages(&reader, "none", 4).await, [Vec::<Bytes>::new()]);
    };
    check(bed.outside().await).await;
    // Once more with the sorted pages of sealed segments.
    assert_eq!(bed.slate.maintain().await.unwrap(), 2);
    let listed: Vec<_> = bed.reader().segments().await.unwrap().iter().map(|segment| segment.listed).collect();
    assert_eq!(listed, [true, true, false]);
    check(bed.reader()).await;
    check(bed.outside().await).await;
}

#[tokio::test]
async fn many_streams_make_many_pages() {
    let bed = Bed::new(Config::default()).await;
    for batch in 0..10 {
        bed.commit(|op| {
            for stream in 0..1000 {
                op.append(format!("stream-with-a-long-name-{:06}", (stream * 7919 + batch * 31) % 10_000), "x");
            }
        })
        .await
        .unwrap();
    }
    bed.commit(|op| _ = op.roll()).await.unwrap();
    let before = pages(&bed.reader(), "", 512).await;
    bed.slate.maintain().await.unwrap();
    let after = pages(&bed.outside().await, "", 512).await;
    assert_eq!(before, after);
    let all = after.concat();
    assert!(all.is_sorted() && all.len() > 5000, "{}", all.len());
}

#[tokio::test]
async fn a_stream_without_records_is_not_listed() {
    let bed = Bed::new(Config::default()).await;
    bed.append("a", "1").await;
    bed.append("b", "1").await;
    bed.commit(|op| _ = op.trim("a", Position::MAX)).await.unwrap();
    assert_eq!(bed.reader().streams("", None, 10).await.unwrap().streams, ["b"]);
    bed.append("a", "2").await;
    assert_eq!(bed.outside().await.streams("", None, 10).await.unwrap().streams, ["a", "b"]);
}

#[tokio::test]
async fn a_segment_is_closed_when_it_holds_enough_streams() {
    let bed = Bed::new(Config { segment_streams: 100, ..Config::default() }).await;
    for batch in 0..10 {
        bed.commit(|op| {
            for stream in 0..50 {
                op.append(format!("{batch}-{stream}"), "x");
            }
        })
        .await
        .unwrap();
    }
    let segments = bed.reader().segments().await.unwrap();
    assert_eq!(segments.len(), 5);
    assert!(segments.iter().all(|segment| segment.streams() == 100));
}
