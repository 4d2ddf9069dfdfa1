use super::*;

#[test]
fn names_are_kept_once() {
    let mut op = Op::default();
    op.append("a", "1").append("b", "2").append("a", "3").append_all("b", ["4", "5"]);
    let streams: Vec<_> = op.entries.iter().map(|entry| entry.stream).collect();
    assert_eq!(streams, [0, 1, 0, 1, 1]);
    assert_eq!(op.names.len(), 2);
}

#[test]
fn an_operation_is_empty_until_it_asks_for_something() {
    let empty: [fn(&mut Op); 2] = [|_| {}, |op| _ = op.append_all("s", Vec::<Bytes>::new())];
    for ask in empty {
        let mut op = Op::default();
        ask(&mut op);
        assert!(op.is_empty());
    }
    let asks: [fn(&mut Op); 10] = [
        |op| _ = op.append("s", "x"),
        |op| _ = op.barrier("b"),
        |op| _ = op.watermark(Timestamp(1)),
        |op| _ = op.expect_position("s", None),
        |op| _ = op.producer("p", 1),
        |op| _ = op.trim("s", Position(1)),
        |op| _ = op.trim_all(Position(1)),
        |op| _ = op.remove_cursor("c"),
        |op| _ = op.expect_cursor("c", None),
        |op| _ = op.roll(),
    ];
    for ask in asks {
        let mut op = Op::default();
        ask(&mut op);
        assert!(!op.is_empty());
    }
}

#[test]
fn the_first_mistake_is_kept() {
    let mut op = Op::default();
    op.append(vec![b'x'; 2000], "1").set_cursor("", Position(1), Hold::No);
    let refused = op.refused.unwrap();
    assert!(refused.message().starts_with("stream name too long, size_bytes=2000, limit=1024, begins=xxxx"));
}

#[test]
fn size_grows_with_what_is_asked() {
    let mut op = Op::default();
    op.append("s", vec![0; 1000]);
    assert!((1000..1400).contains(&op.size_bytes()), "{}", op.size_bytes());
    op.append_record("s", NewRecord::new("x").header("name", vec![0; 500]));
    assert!(op.size_bytes() > 1500);
    assert_eq!(op.largest, (0, 1000));
}
