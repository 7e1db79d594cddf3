use super::Location;
use crate::ClusterError;

#[test]
fn a_url_is_taken_apart_and_put_together_again() {
    for url in [
        "s3://bucket/corpus/2024/a.jsonl",
        "file:///data/a.jsonl",
        "memory:///a/b",
    ] {
        assert_eq!(Location::parse(url).unwrap().to_string(), url);
    }
}

#[test]
fn a_local_path_is_a_file_url() {
    let location = Location::parse("/data/in put/ä.jsonl").unwrap();
    assert_eq!(location.base.as_str(), "file:///");
    assert_eq!(location.path.as_ref(), "data/in put/ä.jsonl");
}

#[test]
fn names_with_any_character_come_back() {
    for name in ["a b", "50%", "50%25", "what?", "#1", "ä", "a+b&c"] {
        let folder = Location::parse("s3://bucket/folder").unwrap();
        let location = folder.join(name);
        assert_eq!(
            Location::parse(&location.to_string()).unwrap(),
            location,
            "{name}"
        );
    }
}

#[test]
fn a_url_that_does_not_parse_is_named() {
    let error = Location::parse("s3://[bucket").unwrap_err();
    assert!(
        matches!(&error, ClusterError::BadUrl { url, .. } if url == "s3://[bucket"),
        "{error}"
    );
}

#[test]
fn a_store_that_was_not_given_is_named_with_what_to_do() {
    let runtime = datafusion::execution::runtime_env::RuntimeEnv::default();
    let error = Location::parse("s3://bucket/a")
        .unwrap()
        .store(&runtime)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("s3://bucket/a") && text.contains("Stores"),
        "{text}"
    );
}

#[cfg(feature = "s3")]
#[test]
fn keys_are_not_shown() {
    let config = super::S3Config {
        bucket: "b".into(),
        endpoint: None,
        region: "r".into(),
        access_key_id: "the-key".into(),
        secret_access_key: "the-secret".into(),
        allow_http: false,
    };
    let shown = format!(
        "{config:?} {:?}",
        super::Stores::local().with_s3(&config).unwrap()
    );
    assert!(
        !shown.contains("the-secret") && !shown.contains("the-key"),
        "{shown}"
    );
}
