//! The end of the server.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firebox_serve::{Server, Shutdown};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    client::{Connection, JSON, PATIENCE, eventually, request, start, start_with},
    fake::Fake,
};

#[tokio::test]
async fn running_requests_end_and_new_ones_find_no_server() {
    let mut server = start(Fake::slow()).await;
    let address = server.address;
    let body = json!({"prompt": "a", "max_tokens": 150, "stream": true});
    let mut streamed = server.stream("/generate", &body).await;
    streamed.next().await.unwrap();
    let mut whole = Connection::open(address).await;
    let body = json!({"prompt": "a", "max_tokens": 150}).to_string();
    whole
        .write(&request("POST", "/generate", &[JSON], body.as_bytes()))
        .await;
    eventually("both run", || server.n_running() == 2).await;
    let idle = Connection::open(address).await;
    server.stop();
    let events = streamed.all().await;
    assert_eq!(events.last().unwrap()["finish_reason"], "length");
    assert_eq!(whole.read().await.json()["completion_tokens"], 150);
    assert!(TcpStream::connect(address).await.is_err());
    let started = Instant::now();
    assert_eq!(server.ended().await, Shutdown::Drained);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "an idle client holds nothing up"
    );
    drop(idle);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut_and_told() {
    let builder = Server::builder().drain_limit(Duration::from_millis(100));
    let fake = Fake::slow();
    let seen = std::sync::Arc::clone(&fake.seen);
    let mut server = start_with(builder, fake.served()).await;
    let body = json!({"prompt": "a", "max_tokens": 900, "stream": true});
    let mut streamed = server.stream("/generate", &body).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut connection = Connection::open(server.address).await;
        let body = json!({"prompt": "a", "max_tokens": 900}).to_string();
        connection
            .write(&request("POST", "/generate", &[JSON], body.as_bytes()))
            .await;
        connections.push(connection);
    }
    eventually("three run", || server.n_running() == 3).await;
    server.stop();
    for connection in &mut connections {
        let answer = connection.read().await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (503, &json!("shutting_down"))
        );
    }
    let mut last = String::new();
    while let Some(data) = streamed.next().await {
        last = data;
    }
    assert!(last.contains("\"code\":\"shutting_down\""), "{last}");
    assert_eq!(server.ended().await, Shutdown::Cut);
    let n_running = || seen.n_running.load(std::sync::atomic::Ordering::SeqCst);
    eventually("all are given up", || n_running() == 0).await;
}

/// A signal goes to a whole process, so the server has one of its own: this test program, run
/// again for the one test below.
#[cfg(unix)]
#[test]
fn sigterm_and_ctrl_c_end_the_server() {
    for signal in ["TERM", "INT"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "shutdown::child_serves_until_a_signal",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        while !line.contains("ready") {
            line.clear();
            assert_ne!(
                std::io::BufRead::read_line(&mut stdout, &mut line).unwrap(),
                0
            );
        }
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "SIG{signal} was not heard");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "SIG{signal}: {status}");
    }
}

/// Set in the child of [`sigterm_and_ctrl_c_end_the_server`].
const CHILD: &str = "FIREBOX_SERVE_TEST_CHILD";

#[tokio::test]
async fn child_serves_until_a_signal() {
    if std::env::var_os(CHILD).is_none() {
        return; // Only as a child.
    }
    let server = Server::builder()
        .address(([127, 0, 0, 1], 0).into())
        .build()
        .unwrap();
    let listener = server.bind().await.unwrap();
    let shutdown = async {
        let signal = std::pin::pin!(firebox_serve::shutdown_signal());
        let ready = async {
            // The signals are heard from the first poll on, which was just before this.
            println!("ready");
            std::future::pending::<()>().await;
        };
        tokio::select! { biased; () = signal => {} () = ready => {} }
    };
    let ended = server
        .serve(listener, Fake::default().served(), shutdown)
        .await;
    assert_eq!(ended, Shutdown::Drained);
}
