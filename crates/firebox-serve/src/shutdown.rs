//! The signals that end the server, and the one that has it read its files again.

use std::path::PathBuf;

use crate::{AdapterError, Keys, ServedModel};

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

/// Reads the file of keys and the model's folder of adapters again at every SIGHUP, for as long as it
/// is polled. What cannot be read leaves what there is, and says so in the log.
///
/// Where the system gives no signals, it waits for ever. Must be polled inside a tokio runtime.
#[cfg(unix)]
pub async fn reload_at_hangup(keys: Option<(Keys, PathBuf)>, model: ServedModel) {
    use tokio::signal::unix::{SignalKind, signal};

    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        if let Some((keys, file)) = &keys {
            match keys.reload(file) {
                Ok(()) => tracing::info!(n_keys = keys.len(), "keys read again"),
                Err(error) => tracing::error!(%error, "the keys stay as they were"),
            }
        }
        let model = model.clone();
        let adapters = tokio::task::spawn_blocking(move || model.read_adapters());
        match adapters.await {
            Ok(Err(AdapterError::NoFolder)) | Err(_) => {}
            Ok(Err(error)) => tracing::error!(%error, "the adapters stay as they were"),
            Ok(Ok(failed)) => {
                for error in failed {
                    tracing::error!(%error, "the adapter stays as it was");
                }
                tracing::info!("adapters read again");
            }
        }
    }
}

/// Waits for ever: the system gives no signals.
#[cfg(not(unix))]
pub async fn reload_at_hangup(_: Option<(Keys, PathBuf)>, _: ServedModel) {
    std::future::pending().await
}
