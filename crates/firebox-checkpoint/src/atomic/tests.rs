use super::*;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn dir_with(target: &Path, files: &[(&str, &str)]) -> AtomicDir {
    let dir = AtomicDir::create(target).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn committed_file_replaces_the_old_one_and_leaves_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b.json");
    write_atomic(&path, b"old").unwrap();
    write_atomic(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(&dir.path().join("a")), ["b.json"]);
}

#[test]
fn dropped_file_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.json");
    write_atomic(&path, b"old").unwrap();
    let mut file = AtomicFile::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(dir.path()), ["b.json"]);
}

#[test]
fn new_file_is_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (ours, plain) = (dir.path().join("ours"), dir.path().join("plain"));
    write_atomic(&ours, b"x").unwrap();
    fs::write(&plain, b"x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn committed_dir_appears_whole() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("model");
    dir_with(&target, &[("a", "1"), ("b", "2")])
        .commit()
        .unwrap();
    assert_eq!(names(&target), ["a", "b"]);
    assert_eq!(names(dir.path()), ["model"]);
}

#[test]
fn dropped_dir_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    drop(dir_with(&dir.path().join("model"), &[("a", "1")]));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn dir_with_the_same_files_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("model");
    dir_with(&target, &[("a", "old")]).commit().unwrap();
    dir_with(&target, &[("a", "new"), ("b", "more")])
        .commit()
        .unwrap();
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "new");
    assert_eq!(names(dir.path()), ["model"]);
}

#[test]
fn dir_with_a_file_that_would_be_lost_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("home");
    dir_with(&target, &[("a", "old"), ("diary.txt", "dear")])
        .commit()
        .unwrap();
    let error = dir_with(&target, &[("a", "new")]).commit().unwrap_err();
    assert!(error.to_string().contains("`diary.txt`"), "{error}");
    assert_eq!(names(&target), ["a", "diary.txt"]);
    assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "old");
    assert_eq!(names(dir.path()), ["home"]);
}

#[test]
fn steps_exchange_as_the_system_call_does() {
    let dir = tempfile::tempdir().unwrap();
    let (new, target) = (dir.path().join("new.tmp"), dir.path().join("model"));
    fs::create_dir(&new).unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(new.join("a"), "new").unwrap();
    exchange_in_steps(&new, &target).unwrap();
    assert_eq!(names(&target), ["a"]);
    assert!(names(&new).is_empty());
}

#[test]
fn path_without_a_name_is_refused() {
    for path in ["/", "..", ""] {
        let error = AtomicDir::create(Path::new(path)).unwrap_err().to_string();
        assert!(error.contains("ends in a name"), "{error}");
    }
}

/// How many temporary names there are beside a target.
fn n_temporary(parent: &Path) -> usize {
    names(parent)
        .iter()
        .filter(|name| name.ends_with(SUFFIX))
        .count()
}

#[test]
fn what_a_killed_process_left_is_deleted_and_what_is_being_written_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("model");
    fs::create_dir(parent.path().join(".model.AbCdEfAbCdEf.tmp")).unwrap();
    fs::write(
        parent.path().join(".model.AbCdEfAbCdEf.tmp/weights"),
        b"half",
    )
    .unwrap();
    fs::write(parent.path().join(".model.GhIjKlGhIjKl.tmp"), b"half").unwrap();
    for others in [
        ".other.AbCdEfAbCdEf.tmp",
        ".model.gguf.AbCdEfAbCdEf.tmp",
        ".model.tmp",
        ".model.backup.tmp",
    ] {
        fs::write(parent.path().join(others), b"half").unwrap();
    }
    // The new version of an exchange that was cut off.
    fs::create_dir(parent.path().join(".model.MnOpQrMnOpQr.tmp")).unwrap();
    fs::create_dir(parent.path().join(".model.MnOpQrMnOpQr.old")).unwrap();
    let first = dir_with(&target, &[("a", "1")]);
    assert_eq!(n_temporary(parent.path()), 6, "its own, and five");
    let file = AtomicFile::create(&target).unwrap();
    let second = dir_with(&target, &[("a", "1")]);
    assert_eq!(n_temporary(parent.path()), 8, "nobody's was deleted");
    drop((second, file));
    first.commit().unwrap();
    assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
    assert_eq!(n_temporary(parent.path()), 5);
}

#[test]
fn what_is_deleted_before_it_is_locked_is_made_again() {
    let parent = tempfile::tempdir().unwrap();
    let n_made = std::cell::Cell::new(0);
    let path = held(|| {
        n_made.set(n_made.get() + 1);
        let path = parent.path().join(n_made.get().to_string());
        if n_made.get() == 3 {
            fs::write(&path, b"").unwrap();
        }
        Ok((path.clone(), path))
    });
    assert_eq!(path.unwrap(), parent.path().join("3"));
}
