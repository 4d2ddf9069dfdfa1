use super::*;

#[test]
fn names_are_encoded_whatever_they_are() {
    let client = Client::new("http://localhost:1/base/").unwrap();
    let url = client.url(&["v1", "log", "events", "streams", "a/b ?#%ä"]).unwrap();
    assert_eq!(url.as_str(), "http://localhost:1/base/v1/log/events/streams/a%2Fb%20%3F%23%25%C3%A4");
    for wrong in ["localhost:8080", "ftp://x", "", "memory:"] {
        assert_eq!(Client::new(wrong).err().map(|error| error.kind()), Some(ErrorKind::Invalid), "{wrong}");
    }
}

#[test]
fn an_error_in_the_middle_of_lines_is_an_error() {
    assert_eq!(line::<u64>(b"7\n").unwrap(), Some(7));
    assert_eq!(line::<u64>(b"\n").unwrap(), None);
    let error = line::<u64>(b"{\"error\":{\"kind\":\"corrupt\",\"message\":\"bad chunk\"}}\n").unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "bad chunk"));
    assert_eq!(line::<u64>(b"what\n").unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_also_for_writes() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::new(&format!("http://127.0.0.1:{port}")).unwrap();
    let error = client.post::<StatsOut>("/v1/commit", &()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_write_without_an_answer_has_an_unknown_outcome() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = std::thread::spawn(move || {
        use std::io::Read;
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        assert!(connection.read(&mut request).unwrap() > 0);
    });
    let error = client.post::<StatsOut>("/v1/commit", &()).await.unwrap_err();
    server.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}
