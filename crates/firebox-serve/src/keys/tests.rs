use super::*;

#[test]
fn a_new_key_is_found_and_no_other() {
    let (secret, entry) = new_key("ann").unwrap();
    let (other, _) = new_key("ann").unwrap();
    assert_eq!(secret.len(), PREFIX.len() + 64);
    assert!(!entry.sha256.contains(&secret[PREFIX.len()..]));
    let keys = Keys::from_entries(vec![entry]).unwrap();
    assert_eq!(keys.find(secret.as_bytes()).unwrap().name(), "ann");
    for wrong in [other.as_bytes(), b"", b"fbx-", &secret.as_bytes()[1..]] {
        assert!(keys.find(wrong).is_none());
    }
}

#[test]
fn limits_hold_and_say_when_to_come_back() {
    let (_, entry) = new_key("ann").unwrap();
    let key = |entry: KeyEntry| {
        let digest = unhex(&entry.sha256).unwrap();
        Key::new(entry, digest)
    };
    let slow = key(KeyEntry {
        requests_per_minute: Some(2),
        ..entry.clone()
    });
    assert!(slow.begin().is_ok() && slow.begin().is_ok());
    let refused = slow.begin().unwrap_err();
    assert_eq!((refused.what, refused.limit), ("requests a minute", 2));
    assert!(refused.retry_after > Duration::from_secs(28), "{refused:?}");
    slow.requests.lock().unwrap().since -= Duration::from_secs(31);
    assert!(slow.begin().is_ok());

    let alone = key(KeyEntry {
        max_concurrent: Some(1),
        ..entry.clone()
    });
    let place = alone.begin().unwrap();
    assert_eq!(alone.begin().unwrap_err().what, "requests at the same time");
    drop(place);
    assert!(alone.begin().is_ok());

    let poor = key(KeyEntry {
        tokens_per_minute: Some(60),
        ..entry
    });
    // One may take more than is left, the next has to wait until it is paid.
    assert!(poor.begin().is_ok());
    poor.pay_tokens(120);
    let refused = poor.begin().unwrap_err();
    assert_eq!(refused.what, "tokens a minute");
    assert!(refused.retry_after > Duration::from_secs(58), "{refused:?}");
}

#[test]
fn files_are_read_added_to_and_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.toml");
    let (secret, entry) = new_key("ann").unwrap();
    add_key(&path, entry).unwrap();
    let keys = Keys::load(&path).unwrap();
    let before = keys.find(secret.as_bytes()).unwrap();
    let (second, entry) = new_key("bob").unwrap();
    add_key(&path, entry).unwrap();
    assert!(keys.find(second.as_bytes()).is_none());
    keys.reload(&path).unwrap();
    assert!(keys.find(second.as_bytes()).is_some());
    // What was used is kept.
    assert!(Arc::ptr_eq(&before, &keys.find(secret.as_bytes()).unwrap()));
    let (_, again) = new_key("bob").unwrap();
    let message = add_key(&path, again).unwrap_err().to_string();
    assert!(
        message.contains("`bob`: expected a name of its own"),
        "{message}"
    );

    for (text, expected) in [
        ("[[key]]\nname = 1", "name"),
        (
            "[[key]]\nname = \"a\"\nsha256 = \"12\"",
            "64 hexadecimal digits",
        ),
        ("keys = []", "unknown field"),
    ] {
        fs::write(&path, text).unwrap();
        let message = keys.reload(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(keys.len(), 2);
    assert!(matches!(
        Keys::load(&dir.path().join("none")),
        Err(KeyError::Io { .. })
    ));
}
