//! The signals that end the server, and the one that has it read its keys again.

use std::path::PathBuf;

use crate::Keys;

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

/// Reads the file of keys again at every SIGHUP, for as long as it is polled. Keys that cannot be read
/// leave those there are, and say so in the log.
///
/// Where the system gives no signals, it waits for ever. Must be polled inside a tokio runtime.
#[cfg(unix)]
pub async fn reload_at_hangup(keys: Keys, file: PathBuf) {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        match keys.reload(&file) {
            Ok(()) => tracing::info!(n_keys = keys.len(), "keys read again"),
            Err(error) => tracing::error!(%error, "the keys stay as they were"),
        }
    }
}

/// Waits for ever: the system gives no signals.
#[cfg(not(unix))]
pub async fn reload_at_hangup(_: Keys, _: PathBuf) {
    std::future::pending().await
}
