use super::*;
use crate::ErrorKind;

#[test]
fn urls_that_are_none_are_refused_with_a_hint() {
    for url in ["", "data", "ftp://host/x", "file:", "file://relative"] {
        let error = Store::from_url(url).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
    }
}

#[test]
fn every_scheme_that_is_named_is_known() {
    for scheme in SCHEMES {
        // Without a folder, bucket or credentials most are refused, but not for their scheme.
        let refused = Store::from_url(&format!("{scheme}:")).err();
        assert!(refused.is_none_or(|error| !error.to_string().contains("unknown scheme")), "{scheme}");
    }
}

#[test]
fn a_file_url_makes_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}/a/b", folder.path().display());
    assert_eq!(Store::from_url(&url).unwrap().kind(), StoreKind::Local);
    assert!(folder.path().join("a/b").is_dir());
}

#[test]
fn a_slate_path_is_a_path() {
    let store = Store::from_url("memory:").unwrap();
    assert_eq!(store.slate_path("a/b").unwrap().as_ref(), "a/b");
    assert!(store.slate_path("").is_err());
    assert!(store.slate_path("a//b").is_err());
}
