//! An object store that speaks S3's protocol: moto's server, fetched through pip and started here.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use firebox_cluster::{Engine, EngineConfig, S3Config, Stores, run_recipe};
use firebox_data::DedupConfig;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as StorePath;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::corpus;
use crate::local::{assert_counts, assert_documents, read_output, recipe, run_config};
use crate::one_machine;
use crate::ports::free_port;

/// The version that is fetched.
const MOTO: &str = "moto[server]==5.2.5";

const BUCKET: &str = "corpus";

/// A server with an empty bucket; it stops when it is dropped.
struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    async fn start() -> Self {
        let port = free_port();
        let process = Command::new(moto_server())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            endpoint: format!("http://127.0.0.1:{port}"),
        };
        server.create_bucket(port).await;
        server
    }

    /// Waits for the server, and asks for a bucket in plain HTTP: object_store makes none.
    async fn create_bucket(&self, port: u16) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Ok(mut stream) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
            else {
                continue;
            };
            let request = format!(
                "PUT /{BUCKET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\
                 Authorization: AWS4-HMAC-SHA256 Credential=key/20250101/us-east-1/s3/aws4_request\r\n\
                 Connection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            return;
        }
        panic!("moto_server did not answer within 20 s");
    }

    fn config(&self) -> S3Config {
        S3Config {
            bucket: BUCKET.to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".to_owned(),
            access_key_id: "key".to_owned(),
            secret_access_key: "secret".to_owned(),
            allow_http: true,
        }
    }

    /// The bucket, past the crate that is tested.
    fn bucket(&self) -> impl ObjectStore {
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&self.endpoint)
            .with_region("us-east-1")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_allow_http(true)
            .build()
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The server's program, in an environment of its own.
fn moto_server() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(fetch_moto)
}

fn fetch_moto() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let program = folder.join("bin/moto_server");
    if !program.exists() {
        let run = |command: &mut Command| {
            let status = command.status().expect("python3 is there");
            assert!(
                status.success(),
                "{command:?} failed: these tests need pip and its index"
            );
        };
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip")).args(["install", "-q", MOTO]));
    }
    program
}

async fn upload(bucket: &impl ObjectStore, folder: &Path) {
    for name in corpus::FILES {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let path = StorePath::from(format!("in/{name}"));
        bucket.put(&path, bytes.into()).await.unwrap();
    }
}

async fn download(bucket: &impl ObjectStore, folder: &Path) {
    use futures_util::TryStreamExt;
    std::fs::create_dir(folder).unwrap();
    let listed: Vec<_> = bucket
        .list(Some(&StorePath::from("out")))
        .try_collect()
        .await
        .unwrap();
    for meta in listed {
        let bytes = bucket
            .get(&meta.location)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        std::fs::write(folder.join(meta.location.filename().unwrap()), bytes).unwrap();
    }
}

/// From the bucket, through an engine, back to the bucket.
async fn check_run(server: &Server, engine: &Engine) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 1, 9);
    let bucket = server.bucket();
    upload(&bucket, &input).await;
    let expected = one_machine::run(&[&input], &recipe(), Some(&DedupConfig::default()), 5);
    let run = run_config("s3://corpus/in", "s3://corpus/out");
    let report = run_recipe(engine, &recipe(), &run).await.unwrap();
    assert_counts(&report, &expected);
    let output = folder.path().join("out");
    download(&bucket, &output).await;
    assert_documents(&read_output(&output), &expected.written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_to_a_bucket_on_one_machine() {
    let server = Server::start().await;
    let stores = Stores::local().with_s3(&server.config()).unwrap();
    let config = EngineConfig {
        stores,
        ..EngineConfig::default()
    };
    check_run(&server, &Engine::local(config).unwrap()).await;
}

#[cfg(feature = "ballista")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_to_a_bucket_on_two_executors() {
    let server = Server::start().await;
    let stores = Stores::local().with_s3(&server.config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cluster = crate::ballista::Cluster::start(2, folder.path(), &stores).await;
    check_run(&server, &cluster.engine(&stores)).await;
}
