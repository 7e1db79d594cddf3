//! Against a small hub on 127.0.0.1 that answers the two routes in use.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

use super::*;
use crate::digest::to_hex;
use crate::{Source, pull as pull_source};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

struct HubFile {
    etag: String,
    content: Vec<u8>,
}

/// Files by name; requests as `METHOD PATH RANGE TOKEN`.
struct FakeHub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeHub {
    fn new(files: BTreeMap<String, HubFile>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // Ends with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &files, &log);
            }
        });
        Self { endpoint, requests }
    }

    fn with(files: &[(&str, &[u8])]) -> Self {
        let named = |(name, content): &(&str, &[u8])| {
            let etag = to_hex(&Sha256::digest(content));
            (
                (*name).to_owned(),
                HubFile {
                    etag,
                    content: content.to_vec(),
                },
            )
        };
        Self::new(files.iter().map(named).collect())
    }

    fn options(&self, cache: &Path) -> PullOptions {
        let mut options = PullOptions::new(cache);
        options.hf_endpoint = self.endpoint.clone();
        options
    }

    /// How many requests fetched content (the metadata request asks for one byte).
    fn n_downloads(&self) -> usize {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|r| r.contains("/resolve/") && !r.contains("bytes=0-0"))
            .count()
    }
}

/// Answers one request and closes the connection.
fn answer(stream: TcpStream, files: &BTreeMap<String, HubFile>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut token) = (None, String::new());
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_lowercase().as_str() {
            "range" => range = Some(value.to_owned()),
            "authorization" => token = value.to_owned(),
            _ => {}
        }
    }
    let shown = range.clone().unwrap_or_default();
    log.lock().unwrap().push(format!("{path} {shown} {token}"));
    let mut stream = &stream;
    // A test that has already ended does not read its answer.
    let _ = stream.write_all(&reply(&path, range.as_deref(), files));
}

fn reply(path: &str, range: Option<&str>, files: &BTreeMap<String, HubFile>) -> Vec<u8> {
    if path == "/api/models/owner/name/revision/main" {
        let siblings: Vec<_> = files
            .keys()
            .map(|name| serde_json::json!({"rfilename": name}))
            .collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
        return http(
            "200 OK",
            "Content-Type: application/json\r\n",
            body.as_bytes(),
        );
    }
    if path.starts_with("/api/models/owner/gated/") {
        return http("401 Unauthorized", "", b"");
    }
    let file = path
        .strip_prefix(&format!("/owner/name/resolve/{COMMIT}/"))
        .and_then(|name| files.get(name));
    let Some(file) = file else {
        return http("404 Not Found", "", b"");
    };
    let (from, to) = range
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        .map_or((0, ""), |(from, to)| (from.parse().unwrap(), to));
    let end = to
        .parse()
        .map_or(file.content.len(), |to: usize| to + 1)
        .min(file.content.len());
    let headers = format!(
        "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{}/{}\r\n",
        file.etag,
        end.saturating_sub(1),
        file.content.len()
    );
    http("206 Partial Content", &headers, &file.content[from..end])
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An address that was bound and dropped.
fn nobody_there() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn pull_text(source: &str, options: &PullOptions) -> Result<PathBuf, HubError> {
    pull_source(&Source::parse(source).unwrap(), options, &mut ())
}

#[test]
fn a_model_arrives_in_the_shared_cache_layout_and_only_once() {
    let hub = FakeHub::with(&[
        ("config.json", b"{}"),
        ("model.safetensors", b"weights"),
        ("modeling_custom.py", b"import os"),
        ("onnx/model.onnx", b"graph"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let mut options = hub.options(dir.path());
    options.hf_token = Some("secret".to_owned());
    let folder = pull_text("hf:owner/name", &options).unwrap();

    let root = dir.path().join("huggingface/hub/models--owner--name");
    assert_eq!(folder, root.join("snapshots").join(COMMIT));
    assert_eq!(
        fs::read(folder.join("model.safetensors")).unwrap(),
        b"weights"
    );
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    assert!(
        hub.requests
            .lock()
            .unwrap()
            .iter()
            .all(|r| r.ends_with("Bearer secret"))
    );

    assert_eq!(hub.n_downloads(), 2);
    assert_eq!(pull_text("hf:owner/name@main", &options).unwrap(), folder);
    assert_eq!(hub.n_downloads(), 2);
}

#[test]
fn without_a_network_the_cache_serves() {
    let hub = FakeHub::with(&[("m.gguf", b"weights"), ("LICENSE", b"free")]);
    let dir = tempfile::tempdir().unwrap();
    let mut options = hub.options(dir.path());
    let file = pull_text("hf:owner/name", &options).unwrap();
    options.hf_endpoint = nobody_there();
    assert_eq!(pull_text("hf:owner/name", &options).unwrap(), file);
    assert_eq!(pull_text("hf:owner/name#m.gguf", &options).unwrap(), file);
    for unknown in [
        "hf:owner/name#other.gguf",
        "hf:owner/name@v2",
        "hf:owner/other",
    ] {
        let error = pull_text(unknown, &options).unwrap_err();
        assert!(matches!(error, HubError::Hub { .. }), "{error}");
    }
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let content = b"a model of some length";
    let hub = FakeHub::with(&[("m.gguf", content)]);
    let dir = tempfile::tempdir().unwrap();
    let options = hub.options(dir.path());
    let blobs = options.hf_cache_dir.join("models--owner--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let etag = to_hex(&Sha256::digest(content));
    fs::write(blobs.join(format!("{etag}.part")), &content[..7]).unwrap();

    let file = pull_text("hf:owner/name", &options).unwrap();
    assert_eq!(fs::read(&file).unwrap(), content);
    assert!(file.ends_with("m.gguf"));
    assert!(
        hub.requests
            .lock()
            .unwrap()
            .iter()
            .any(|r| r.contains("bytes=7-"))
    );
}

#[test]
fn a_blob_of_another_commit_is_linked_and_not_fetched_again() {
    let hub = FakeHub::with(&[
        ("sub/model.safetensors", b"weights"),
        ("config.json", b"{}"),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let options = hub.options(dir.path());
    let blobs = options.hf_cache_dir.join("models--owner--name/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(to_hex(&Sha256::digest(b"weights"))), b"weights").unwrap();

    let folder = pull_text("hf:owner/name", &options).unwrap();
    assert_eq!(
        fs::read(folder.join("sub/model.safetensors")).unwrap(),
        b"weights"
    );
    assert_eq!(hub.n_downloads(), 1);
}

#[test]
fn a_damaged_file_is_removed() {
    let mut files = BTreeMap::new();
    let etag = to_hex(&Sha256::digest(b"the true text"));
    files.insert(
        "a.txt".to_owned(),
        HubFile {
            etag,
            content: b"another text".to_vec(),
        },
    );
    let hub = FakeHub::new(files);
    let dir = tempfile::tempdir().unwrap();
    let error = pull_text("hf:owner/name", &hub.options(dir.path())).unwrap_err();
    assert!(matches!(error, HubError::HubHash { .. }), "{error}");
    let blobs = dir.path().join("huggingface/hub/models--owner--name/blobs");
    let left: Vec<_> = fs::read_dir(blobs)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| name.to_string_lossy().ends_with(".lock")),
        "{left:?}"
    );
}

#[test]
fn a_git_blob_id_is_checked_too() {
    let mut files = BTreeMap::new();
    // `echo hello | git hash-object --stdin`
    let etag = "ce013625030ba8dba906f756967f9e9ca394464a".to_owned();
    files.insert(
        "a.txt".to_owned(),
        HubFile {
            etag,
            content: b"hello\n".to_vec(),
        },
    );
    let hub = FakeHub::new(files);
    let dir = tempfile::tempdir().unwrap();
    let folder = pull_text("hf:owner/name", &hub.options(dir.path())).unwrap();
    assert_eq!(fs::read(folder.join("a.txt")).unwrap(), b"hello\n");
}

#[test]
fn one_file_can_be_asked_for() {
    let hub = FakeHub::with(&[("q4.gguf", b"four"), ("q8.gguf", b"eight")]);
    let dir = tempfile::tempdir().unwrap();
    let options = hub.options(dir.path());
    let file = pull_text("hf:owner/name#q8.gguf", &options).unwrap();
    assert_eq!(fs::read(file).unwrap(), b"eight");
    assert_eq!(hub.n_downloads(), 1);
    let error = pull_text("hf:owner/name#q5.gguf", &options).unwrap_err();
    insta::assert_snapshot!(error, @"find `q5.gguf` in `hf:owner/name`: no such file (hint: near it are `q4.gguf`, `q8.gguf`)");
}

#[test]
fn file_names_and_hashes_that_climb_are_refused() {
    let hub = FakeHub::with(&[("../../evil.txt", b"x")]);
    let dir = tempfile::tempdir().unwrap();
    let error = pull_text("hf:owner/name", &hub.options(dir.path())).unwrap_err();
    assert!(matches!(error, HubError::MemberPath(_)), "{error}");

    let mut files = BTreeMap::new();
    let etag = "../../../evil".to_owned();
    files.insert(
        "a.txt".to_owned(),
        HubFile {
            etag,
            content: b"x".to_vec(),
        },
    );
    let hub = FakeHub::new(files);
    let error = pull_text("hf:owner/name", &hub.options(dir.path())).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::HubAnswer {
                expected: "a hash",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn unknown_and_gated_repositories_are_told_apart() {
    let hub = FakeHub::with(&[("a.txt", b"x")]);
    let dir = tempfile::tempdir().unwrap();
    let options = hub.options(dir.path());
    let error = pull_text("hf:owner/other", &options).unwrap_err();
    insta::assert_snapshot!(error, @"fetch `hf:owner/other`: the hub has no such repository, revision or file (hint: check the spelling; a private repository needs a token)");
    let error = pull_text("hf:owner/gated", &options).unwrap_err();
    insta::assert_snapshot!(error, @"fetch `hf:owner/gated`: the hub refuses access (hint: set a token that may read it, and accept the model's terms on its page)");
}

#[test]
fn a_hub_that_is_not_there_is_an_error_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = PullOptions::new(dir.path());
    options.hf_endpoint = nobody_there();
    let error = pull_text("hf:owner/name", &options).unwrap_err();
    assert!(
        matches!(error, HubError::Hub { .. }) && !error.is_user_error(),
        "{error}"
    );
}
