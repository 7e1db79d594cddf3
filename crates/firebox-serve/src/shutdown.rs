//! The signals that end the server.

/// Resolves at SIGTERM or Ctrl-C: the future to give to [`Server::serve`](crate::Server::serve).
///
/// Where the system gives no signals, it never resolves. Must be polled inside a tokio runtime.
pub async fn shutdown_signal() {
    tokio::select! {
        () = ctrl_c() => {}
        () = sigterm() => {}
    }
}

async fn ctrl_c() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!(%error, "cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
async fn sigterm() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
async fn sigterm() {
    std::future::pending().await
}
