//! What every request shares.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use crate::{
    EmbeddingModel, Keys, ServedModel, ServerConfig, ServerMetrics, auth::Caller, error::ApiError,
};

/// The state of a running server.
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) model: ServedModel,
    /// Beside it, where there is one.
    pub(crate) embeddings: Option<EmbeddingModel>,
    /// Anyone may ask where there are none.
    pub(crate) keys: Option<Keys>,
    pub(crate) metrics: ServerMetrics,
    /// `true` ends every generation at its next token.
    pub(crate) stop: watch::Sender<bool>,
    /// When the model was put up, in Unix seconds.
    pub(crate) started_unix: u64,
    /// Differs from one server to the next.
    salt: u64,
    n_ids: AtomicU64,
}

impl App {
    pub(crate) fn new(
        config: ServerConfig,
        model: ServedModel,
        keys: Option<Keys>,
        metrics: ServerMetrics,
    ) -> Self {
        Self {
            config,
            model,
            embeddings: None,
            keys,
            metrics,
            stop: watch::Sender::new(false),
            started_unix: unix_seconds(),
            salt: RandomState::new().hash_one(0_u64),
            n_ids: AtomicU64::new(0),
        }
    }

    /// Whether the caller may change what the server has: with an admin's key, or from this machine
    /// where there are no keys.
    pub(crate) fn check_admin(&self, caller: &Caller) -> Result<(), ApiError> {
        let is_admin = match (&self.keys, &caller.key) {
            (None, _) => self.config.address.ip().is_loopback(),
            (Some(_), key) => key.as_ref().is_some_and(|key| key.is_admin()),
        };
        match is_admin {
            true => Ok(()),
            false => Err(ApiError::Forbidden),
        }
    }

    /// A number that no other request has. Sixteen hexadecimal digits name the request.
    pub(crate) fn unique_number(&self) -> u64 {
        mix(self.salt.wrapping_add(self.n_ids.fetch_add(1, Relaxed)))
    }

    /// A seed for a request without one. It has 53 bits, so that it comes back whole from the log
    /// through any JSON, JavaScript's too.
    pub(crate) fn fresh_seed(&self) -> u64 {
        self.unique_number() >> 11
    }
}

/// Now, as OpenAI's `created`.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// A one-to-one scrambling of 64 bits.
///
/// Source: Steele et al. (2014), the finalizer of `SplitMix64`.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
