//! The load generator against a server whose times are known.

use std::time::{Duration, Instant};

use firebox_serve::{
    Server, Tls,
    load::{Arrivals, Load, LoadError},
};

use crate::{
    client::{certificate, start, start_with},
    fake::Fake,
};

const TOKEN_TIME: Duration = Duration::from_millis(5);

fn load(url: String, arrivals: Arrivals) -> Load {
    Load {
        url,
        authorities: None,
        model: None,
        key: None,
        requests: 12,
        arrivals,
        prompt_words: 20,
        shared_words: 5,
        new_tokens: 10,
        seed: 1,
    }
}

fn fake() -> Fake {
    Fake {
        token_time: TOKEN_TIME,
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_wait_for_their_answers_and_strangers_do_not() {
    let server = start(fake()).await;
    let url = format!("http://{}", server.address);
    let closed = load(url.clone(), Arrivals::Closed { clients: 3 });
    let report = closed.measure().await.unwrap();
    assert_eq!((report.answered, report.failed), (12, 0));
    assert_eq!((report.new_tokens, report.clients), (120, Some(3)));
    assert!(report.prompt_tokens > 12 * 20);
    // Four answers one after the other, of ten tokens each.
    assert!(report.seconds >= 4.0 * 10.0 * TOKEN_TIME.as_secs_f64());
    assert!(report.first_token_s.p50 >= TOKEN_TIME.as_secs_f64());
    assert!(report.between_tokens_s.p50 >= 0.9 * TOKEN_TIME.as_secs_f64());
    assert!(
        report.whole_s.p50 >= report.first_token_s.p50 + 9.0 * report.time_per_token_s.p50 * 0.9
    );

    let begin = Instant::now();
    let open = load(url, Arrivals::Poisson { rate: 1000.0 });
    let report = open.measure().await.unwrap();
    assert_eq!((report.answered, report.rate), (12, Some(1000.0)));
    // All at once, after the one that is not counted.
    assert!(begin.elapsed() < 8 * 10 * TOKEN_TIME, "{report:?}");
}

#[tokio::test]
async fn what_fails_is_counted() {
    let server = start(Fake {
        max_running: 2,
        ..fake()
    })
    .await;
    let url = format!("http://{}", server.address);
    let open = load(url.clone(), Arrivals::Poisson { rate: 1e6 });
    let report = open.measure().await.unwrap();
    assert!(report.answered >= 2 && report.failed > 0, "{report:?}");
    assert_eq!(report.answered + report.failed, 12);
    assert!(report.first_error.unwrap().starts_with("429: "));

    let unknown = Load {
        model: Some("other".to_owned()),
        ..open
    };
    let refused = unknown.measure().await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "404: the model `other` does not exist, this server has `fake-1`"
    );
    let arrivals = Arrivals::Closed { clients: 1 };
    for url in ["ftp://127.0.0.1", "127.0.0.1:80", "http://"] {
        let refused = load(url.to_owned(), arrivals).measure().await;
        assert!(matches!(refused, Err(LoadError::Url { .. })), "{url}");
    }
    let nobody = load("http://127.0.0.1:1".to_owned(), arrivals)
        .measure()
        .await;
    let message = nobody.unwrap_err().to_string();
    assert!(message.contains("connect to `127.0.0.1:1`"), "{message}");
}

#[tokio::test]
async fn a_server_with_tls_is_asked_if_it_can_be_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = certificate(folder.path());
    let builder = Server::builder().tls(Tls::load(&certificate, &key).unwrap());
    let server = start_with(builder, fake().served()).await;
    let url = format!("https://localhost:{}", server.address.port());
    let unknown = load(url, Arrivals::Closed { clients: 2 });
    let refused = unknown.measure().await.unwrap_err();
    assert!(matches!(refused, LoadError::Handshake { .. }), "{refused}");
    let trusted = Load {
        authorities: Some(certificate),
        ..unknown.clone()
    };
    let report = trusted.measure().await.unwrap();
    assert_eq!((report.answered, report.failed), (12, 0));
    let plain = Load {
        url: format!("http://{}", server.address),
        ..trusted
    };
    let refused = plain.measure().await.unwrap_err();
    assert!(matches!(refused, LoadError::NoTls { .. }), "{refused}");
    let no_certificate = Load {
        authorities: Some(key),
        ..unknown
    };
    let message = no_certificate.measure().await.unwrap_err().to_string();
    assert!(message.starts_with("certificate `"), "{message}");
}
