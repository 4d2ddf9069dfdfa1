use super::*;

async fn batches(text: &[u8], limit: usize) -> Vec<Vec<Bytes>> {
    let mut lines = Lines::start(io::Cursor::new(text.to_vec()), None);
    let mut batches = Vec::new();
    while let Some(batch) = lines.batch(limit).await.unwrap() {
        batches.push(batch.lines);
    }
    batches
}

#[tokio::test]
async fn line_ends_are_taken_off_and_nothing_else() {
    let all = batches(b"a\nb \r\n\n\xff\r\r\nlast", 1).await.concat();
    assert_eq!(all, [&b"a"[..], b"b ", b"", b"\xff\r", b"last"]);
    assert!(batches(b"", 10).await.is_empty());
}

#[tokio::test]
async fn a_batch_has_its_limits_and_loses_nothing() {
    let text: Vec<u8> = (0..10_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let batches = batches(&text, 64).await;
    assert!(batches.iter().all(|batch| (1..=64).contains(&batch.len())));
    let all: Vec<String> = batches.concat().iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    assert_eq!(all, (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>());

    let long = vec![b'x'; BATCH_BYTES];
    let text = [b"short\n".as_slice(), &long, b"\nshort\n"].concat();
    let sizes: Vec<usize> = self::batches(&text, 64).await.concat().iter().map(Bytes::len).collect();
    assert_eq!(sizes, [5, BATCH_BYTES, 5]);
}
