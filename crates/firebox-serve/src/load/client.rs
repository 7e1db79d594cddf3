//! One request to an OpenAI-compatible server, its answer timed token by token.

use std::path::Path;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::LoadError;
use crate::tls;

/// Where the server is, and as whom it is asked.
pub(super) struct Server {
    /// `host:port`.
    authority: String,
    /// Where TLS is spoken, with the name that its certificate must have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What stands before the paths of the API.
    prefix: String,
    key: Option<String>,
}

/// A connection that is used again.
pub(super) struct Client<'a> {
    server: &'a Server,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// How one answer came.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    /// From the request to the first piece of text.
    pub(super) first_token: Duration,
    /// Between one piece and the next.
    pub(super) gaps: Vec<Duration>,
    /// From the request to the end.
    pub(super) whole: Duration,
    pub(super) n_prompt_tokens: usize,
    pub(super) n_new_tokens: usize,
}

impl Server {
    pub(super) fn new(
        url: &str,
        key: Option<String>,
        authorities: Option<&Path>,
    ) -> Result<Self, LoadError> {
        let wrong = || LoadError::Url {
            found: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().ok_or_else(wrong)?;
        let (tls, usual_port) = match uri.scheme_str() {
            Some("http") if authorities.is_some() => {
                let found = url.to_owned();
                return Err(LoadError::NoTls { found });
            }
            Some("http") => (None, 80),
            Some("https") => {
                let name = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
                (Some((tls::connector(authorities)?, name)), 443)
            }
            _ => return Err(wrong()),
        };
        let prefix = uri.path().trim_end_matches('/').trim_end_matches("/v1");
        Ok(Self {
            authority: format!("{host}:{}", uri.port_u16().unwrap_or(usual_port)),
            tls,
            prefix: prefix.to_owned(),
            key,
        })
    }

    pub(super) fn client(&self) -> Client<'_> {
        Client {
            server: self,
            sender: None,
        }
    }
}

impl Client<'_> {
    /// The first model that the server names.
    pub(super) async fn first_model(&mut self) -> Result<String, LoadError> {
        let answer = self.send(Method::GET, "/v1/models", Bytes::new()).await?;
        let bytes = answer.into_body().collect().await?.to_bytes();
        let models: Value = serde_json::from_slice(&bytes)?;
        let name = models["data"][0]["id"].as_str();
        name.map(str::to_owned).ok_or(LoadError::NoModel)
    }

    /// Asks for a streamed completion, and waits for its end.
    pub(super) async fn complete(&mut self, body: &Value) -> Result<Timed, LoadError> {
        let begin = Instant::now();
        let body = Bytes::from(body.to_string());
        let answer = self.send(Method::POST, "/v1/completions", body).await?;
        let mut stream = Stream::new(answer.into_body());
        let (mut times, mut usage, mut is_whole) = (Vec::new(), Value::Null, false);
        while let Some(event) = stream.next().await? {
            if event == "[DONE]" {
                is_whole = true;
                continue;
            }
            let mut event: Value = serde_json::from_str(&event)?;
            if let Some(message) = event["error"]["message"].as_str() {
                return Err(LoadError::Event(message.to_owned()));
            }
            let text = event["choices"][0]["text"].as_str();
            if text.is_some_and(|text| !text.is_empty()) {
                times.push(Instant::now());
            }
            if event["usage"].is_object() {
                usage = event["usage"].take();
            }
        }
        if !is_whole {
            return Err(LoadError::Cut);
        }
        let whole = begin.elapsed();
        let tokens = |name: &str| usage[name].as_u64().unwrap_or(0) as usize;
        let first = times.first().copied().ok_or(LoadError::NoText)?;
        Ok(Timed {
            first_token: first - begin,
            gaps: times.windows(2).map(|pair| pair[1] - pair[0]).collect(),
            whole,
            n_prompt_tokens: tokens("prompt_tokens"),
            n_new_tokens: tokens("completion_tokens").max(times.len()),
        })
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, LoadError> {
        let server = self.server;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", server.prefix))
            .header(header::HOST, &server.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = &server.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        let request = request.body(Full::new(body)).map_err(LoadError::Request)?;
        let answer = self.connection().await?.send_request(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = answer.into_body().collect().await?.to_bytes();
        let error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = error["error"]["message"].as_str().unwrap_or("no message");
        Err(LoadError::Status {
            status: status.as_u16(),
            message: message.to_owned(),
        })
    }

    /// The connection, a new one if the last was closed.
    async fn connection(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, LoadError> {
        let mut sender = self.sender.take();
        if let Some(kept) = &mut sender
            && kept.ready().await.is_err()
        {
            sender = None;
        }
        let sender = match sender {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        Ok(self.sender.insert(sender))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LoadError> {
        let address = &self.server.authority;
        let failed = |source| LoadError::Connect {
            address: address.clone(),
            source,
        };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        match &self.server.tls {
            None => start(stream).await,
            Some((connector, name)) => {
                let connecting = connector.connect(name.clone(), stream);
                let stream = connecting.await.map_err(|source| LoadError::Handshake {
                    address: address.clone(),
                    source,
                })?;
                start(stream).await
            }
        }
    }
}

/// HTTP/1.1 over a connection.
async fn start<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, LoadError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its errors come out of the requests.
    tokio::spawn(connection);
    Ok(sender)
}

/// The `data` of server-sent events.
struct Stream {
    body: Incoming,
    /// What is not a whole line yet.
    rest: Vec<u8>,
    /// How much of it was looked through.
    n_seen: usize,
}

impl Stream {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            rest: Vec::new(),
            n_seen: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<String>, LoadError> {
        loop {
            if let Some(n) = self.rest[self.n_seen..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=self.n_seen + n).collect();
                self.n_seen = 0;
                let line = String::from_utf8(line).map_err(|_| LoadError::Cut)?;
                if let Some(data) = line.strip_prefix("data:") {
                    return Ok(Some(data.trim().to_owned()));
                }
                continue;
            }
            self.n_seen = self.rest.len();
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
