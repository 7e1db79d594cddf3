//! A server on a free port, and an HTTP client just good enough to test it.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use firebox_serve::{ServedModel, Server, ServerBuilder, ServerMetrics, Shutdown};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::fake::Fake;

/// Nothing in these tests takes this long; a hang fails here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs until it is dropped or told to stop.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: ServerMetrics,
    model: ServedModel,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Shutdown>,
}

pub(crate) async fn start(fake: Fake) -> Running {
    start_with(Server::builder(), fake.served()).await
}

pub(crate) async fn start_with(builder: ServerBuilder, model: ServedModel) -> Running {
    let server = builder.address(([127, 0, 0, 1], 0).into()).build().unwrap();
    let metrics = server.metrics();
    let listener = server.bind().await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async { drop(stopped.await) };
    let served = tokio::spawn(server.serve(listener, model.clone(), shutdown));
    Running {
        address,
        metrics,
        model,
        stop: Some(stop),
        served,
    }
}

/// The files of a certificate for `localhost`, signed by itself, and of its key.
pub(crate) fn certificate(folder: &Path) -> [PathBuf; 2] {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    std::fs::write(&files[0], pair.cert.pem()).unwrap();
    std::fs::write(&files[1], pair.signing_key.serialize_pem()).unwrap();
    files
}

impl Running {
    /// Answers that are being computed.
    pub(crate) fn n_running(&self) -> usize {
        self.model.engine().stats().n_running
    }

    /// Asks for the shutdown.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn ended(self) -> Shutdown {
        timeout(PATIENCE, self.served)
            .await
            .expect("the server ends")
            .unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, &[JSON], body.to_string().as_bytes())
            .await
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut connection = Connection::open(self.address).await;
        connection
            .write(&request(method, path, headers, body))
            .await;
        connection.read().await
    }

    /// A request whose answer is read event by event.
    pub(crate) async fn stream(&self, path: &str, body: &Value) -> Events {
        let mut connection = Connection::open(self.address).await;
        connection
            .write(&request("POST", path, &[JSON], body.to_string().as_bytes()))
            .await;
        let head = connection.read_head().await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        Events {
            connection,
            text: String::new(),
        }
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// A request in bytes.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += &format!("content-length: {}\r\n\r\n", body.len());
    [bytes.as_bytes(), body].concat()
}

/// An answer, wholly read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// A connection; dropping it disconnects.
pub(crate) struct Connection(pub(crate) BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    pub(crate) async fn read(&mut self) -> Response {
        let mut response = self.read_head().await;
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk().await {
                response.body.extend(chunk);
            }
        } else {
            let n_bytes = response
                .header("content-length")
                .expect("a length")
                .parse()
                .unwrap();
            response.body.resize(n_bytes, 0);
            within(self.0.read_exact(&mut response.body)).await.unwrap();
        }
        response
    }

    pub(crate) async fn read_head(&mut self) -> Response {
        let status_line = self.read_line().await;
        let status = status_line
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line().await;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        Response {
            status,
            headers,
            body: Vec::new(),
        }
    }

    async fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let n_bytes = usize::from_str_radix(&self.read_line().await, 16).ok()?;
        let mut bytes = vec![0; n_bytes + 2];
        within(self.0.read_exact(&mut bytes)).await.ok()?;
        bytes.truncate(n_bytes);
        (n_bytes > 0).then_some(bytes)
    }

    async fn read_line(&mut self) -> String {
        let mut line = String::new();
        within(self.0.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("an answer in time")
}

/// Server-sent events, as they come.
pub(crate) struct Events {
    pub(crate) connection: Connection,
    text: String,
}

impl Events {
    /// The next event's data, or `None` at the end of the answer.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(str::to_owned);
                self.text = rest.to_owned();
                match data {
                    Some(data) => return Some(data),
                    None => continue, // A comment, to keep the connection alive.
                }
            }
            let chunk = self.connection.read_chunk().await?;
            self.text += &String::from_utf8(chunk).unwrap();
        }
    }

    /// All events, of which the last is `[DONE]` and left out.
    pub(crate) async fn all(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let data = self.next().await.expect("an event");
            if data == "[DONE]" {
                assert_eq!(self.next().await, None);
                return events;
            }
            events.push(serde_json::from_str(&data).unwrap());
        }
    }
}

/// Waits until `fact` holds.
pub(crate) async fn eventually(what: &str, fact: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(2)).await;
    }
}
