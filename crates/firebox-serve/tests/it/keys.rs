//! Who may ask, and how much.

use std::time::Duration;

use firebox_serve::{Keys, Server, Tls, new_key};
use serde_json::{Value, json};

use crate::{
    client::{JSON, Response, Running, certificate, eventually, start_with},
    fake::Fake,
    local_model,
};

const CHAT: &str = "/v1/chat/completions";

struct Guarded {
    server: Running,
    secrets: Vec<String>,
}

impl Guarded {
    async fn ask(&self, who: usize, body: &Value) -> Response {
        let bearer = format!("Bearer {}", self.secrets[who]);
        let headers = [JSON, ("authorization", bearer.as_str())];
        let body = body.to_string();
        self.server
            .send("POST", CHAT, &headers, body.as_bytes())
            .await
    }
}

async fn guarded(model: firebox_serve::ServedModel, limits: [Option<u32>; 3]) -> Guarded {
    let (mut secrets, mut entries) = (Vec::new(), Vec::new());
    for name in ["ann", "bob"] {
        let (secret, mut entry) = new_key(name).unwrap();
        [
            entry.requests_per_minute,
            entry.tokens_per_minute,
            entry.max_concurrent,
        ] = limits;
        secrets.push(secret);
        entries.push(entry);
    }
    let builder = Server::builder().keys(Keys::from_entries(entries).unwrap());
    Guarded {
        server: start_with(builder, model).await,
        secrets,
    }
}

fn chat(content: &str, max_tokens: usize) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": max_tokens, "temperature": 0})
}

#[tokio::test]
async fn only_a_key_opens() {
    let guarded = guarded(Fake::default().served(), [None; 3]).await;
    assert_eq!(guarded.ask(0, &chat("a", 2)).await.status, 200);
    let good = format!("Bearer {}", guarded.secrets[0]);
    let basic = format!("Basic {}", guarded.secrets[0]);
    let longer = format!("{good}0");
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", "Bearer ")],
        &[("authorization", "Bearer fbx-0")],
        &[("authorization", &basic)],
        &[("authorization", &longer)],
        &[("authorization", &good), ("authorization", &good)],
        &[("x-api-key", &good)],
    ];
    for headers in wrong {
        for (method, path) in [
            ("POST", CHAT),
            ("GET", "/v1/models"),
            ("POST", "/tokenize"),
            ("GET", "/nowhere"),
        ] {
            let answer = guarded.server.send(method, path, headers, b"").await;
            assert_eq!(answer.status, 401, "{method} {path} {headers:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
        }
    }
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(guarded.server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn each_key_has_limits_of_its_own() {
    let limited = guarded(Fake::default().served(), [Some(1), None, None]).await;
    assert_eq!(limited.ask(0, &chat("a", 2)).await.status, 200);
    let refused = limited.ask(0, &chat("a", 2)).await;
    assert_eq!(refused.status, 429);
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&after), "{after}");
    let refused = refused.json();
    let error = &refused["error"];
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("rate_limit_error"), &json!("rate_limit_exceeded"))
    );
    assert_eq!(limited.ask(1, &chat("a", 2)).await.status, 200);

    let limited = guarded(Fake::default().served(), [None, Some(30), None]).await;
    assert_eq!(limited.ask(0, &chat("a", 60)).await.status, 200);
    assert_eq!(limited.ask(0, &chat("a", 1)).await.status, 429);
    assert_eq!(limited.ask(1, &chat("a", 1)).await.status, 200);

    let limited = guarded(Fake::slow().served(), [None, None, Some(1)]).await;
    let long = chat("a", 100);
    let running = limited.ask(0, &long);
    let beside = async {
        eventually("one runs", || limited.server.n_running() == 1).await;
        let refused = limited.ask(0, &chat("a", 1)).await.status;
        (refused, limited.ask(1, &chat("a", 1)).await.status)
    };
    let (running, beside) = tokio::join!(running, beside);
    assert_eq!((running.status, beside), (200, (429, 200)));
    assert_eq!(limited.ask(0, &chat("a", 1)).await.status, 200);
}

#[tokio::test]
async fn keys_do_not_find_each_others_texts() {
    let guarded = guarded(local_model::chatty(), [None; 3]).await;
    let body = chat(&"the same long question ".repeat(5), 2);
    let mut cached = Vec::new();
    for who in [0, 0, 1, 1] {
        let answer = guarded.ask(who, &body).await.json();
        let details = &answer["usage"]["prompt_tokens_details"];
        cached.push(details["cached_tokens"].as_u64().unwrap() > 0);
    }
    assert_eq!(cached, [false, true, false, true]);
}

#[test]
fn others_are_let_in_only_on_purpose() {
    let open = || Server::builder().address(([0, 0, 0, 0], 8080).into());
    let refused = open().build().unwrap_err().to_string();
    assert!(
        refused.contains("found none for `0.0.0.0:8080`"),
        "{refused}"
    );
    assert!(open().allow_anyone(true).build().is_ok());
    let (_, entry) = new_key("ann").unwrap();
    assert!(
        open()
            .keys(Keys::from_entries(vec![entry]).unwrap())
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn it_speaks_tls() {
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    };

    let dir = tempfile::tempdir().unwrap();
    let [cert, key] = certificate(dir.path());
    let wrong = Tls::load(&key, &key).unwrap_err().to_string();
    assert!(wrong.starts_with("certificate `"), "{wrong}");
    let missing = Tls::load(&cert, &dir.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(missing.starts_with("private key `"), "{missing}");

    let builder = Server::builder()
        .tls(Tls::load(&cert, &key).unwrap())
        .read_timeout(Duration::from_millis(500));
    let server = start_with(builder, Fake::default().served()).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&cert).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        String::from_utf8(answer)
            .unwrap()
            .contains("{\"status\":\"ok\"}")
    );
    // A client that says nothing, or no TLS, is dropped.
    let mut silent = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0);
}
