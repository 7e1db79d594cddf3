//! Accepts connections, speaks HTTP/1.1 on each, and lets them end in peace.
//!
//! axum's own `serve` has no time limit on a client's headers and none on draining; otherwise this
//! is the same loop.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Shutdown, Tls, api, app::App};

/// Rest after a failure to accept that is the system's and not the client's, such as too many open
/// files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long requests that are cut off may take to say so.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// Serves until `shutdown`, then drains.
pub(crate) async fn serve(
    app: &Arc<App>,
    listener: TcpListener,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()>,
) -> Shutdown {
    let router = api::router(Arc::clone(app));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    tracing::info!(address = ?listener.local_addr().ok(), model = app.model.name(), "serving");
    let places = Arc::new(Semaphore::new(app.config.max_connections));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(app, stream, tls.clone(), router.clone(), &graceful);
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => pause(&error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drain(app, graceful, connections).await
}

/// One client, from its first request to its last.
fn connection(
    app: &App,
    stream: TcpStream,
    tls: Option<Tls>,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Events are small and each is wanted at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    limit_unread(&stream, app.config.stall_timeout);
    let read_timeout = app.config.read_timeout;
    let watcher = graceful.watcher();
    async move {
        let Some(tls) = tls else {
            return speak(stream, read_timeout, router, watcher).await;
        };
        match timeout(read_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(stream, read_timeout, router, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS"),
            Err(_) => tracing::debug!("no TLS in time"),
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    read_timeout: Duration,
    router: Router,
    watcher: Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Has the system close a connection whose peer takes nothing of what was sent.
#[cfg(target_os = "linux")]
fn limit_unread(stream: &TcpStream, limit: Duration) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limit)) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
}

#[cfg(not(target_os = "linux"))]
fn limit_unread(_: &TcpStream, _: Duration) {}

async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    tracing::error!(%error, "cannot accept connections");
    sleep(ACCEPT_PAUSE).await;
}

/// Waits for connections to end; after the time limit, makes them.
async fn drain(app: &App, graceful: GracefulShutdown, mut connections: JoinSet<()>) -> Shutdown {
    let limit = app.config.drain_limit;
    tracing::info!(n_connections = connections.len(), ?limit, "draining");
    if timeout(limit, graceful.shutdown()).await.is_ok() {
        return Shutdown::Drained;
    }
    tracing::warn!(n_connections = connections.len(), "cutting");
    app.stop.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(CUT_LIMIT, ended).await.is_err() {
        connections.shutdown().await;
    }
    Shutdown::Cut
}
