//! Where the server listens and how much it takes on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{EmbeddingModel, Keys, Server, Tls};

/// A server's settings. Made by [`ServerBuilder`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where [`Server::bind`] listens. Default `127.0.0.1:8080`: this machine only.
    pub address: SocketAddr,
    /// Whether anyone who reaches the server may ask, without a key. Default false: without keys it
    /// listens on the loopback address alone.
    pub allow_anyone: bool,
    /// Whether requests of different keys find each other's texts in the prefix cache. Default false:
    /// how fast an answer begins would tell what others asked.
    pub share_prefixes: bool,
    /// Connections that may be open at the same time; further ones wait to be accepted. Default
    /// 4096.
    pub max_connections: usize,
    /// Largest request body; a larger one gets 413. Default 1 MiB.
    pub max_body_bytes: usize,
    /// From a request's arrival to its last token, waiting included. Default 10 minutes.
    pub request_timeout: Duration,
    /// For the headers and for the body to arrive, each. Default 30 seconds.
    pub read_timeout: Duration,
    /// How long a streaming client may read nothing before its answer is given up. Default 30
    /// seconds.
    pub stall_timeout: Duration,
    /// How long running requests may take to end after a shutdown is asked for. Default 20 seconds.
    pub drain_limit: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            allow_anyone: false,
            share_prefixes: false,
            max_connections: 4096,
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(600),
            read_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            drain_limit: Duration::from_secs(20),
        }
    }
}

impl ServerConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Names the first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::Zero {
                setting: "max_connections",
            });
        }
        if self.max_body_bytes == 0 {
            return Err(ConfigError::Zero {
                setting: "max_body_bytes",
            });
        }
        let times = [
            ("request_timeout", self.request_timeout),
            ("read_timeout", self.read_timeout),
            ("stall_timeout", self.stall_timeout),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((setting, _)) => Err(ConfigError::Zero { setting }),
            None => Ok(()),
        }
    }
}

/// Why a server cannot be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Others could reach the server, and nothing would ask who they are.
    #[error(
        "expected keys where others can reach the server, found none for `{address}` (hint: make keys, \
         or listen on 127.0.0.1, or say that anyone may ask)"
    )]
    Open {
        /// Where it would listen.
        address: SocketAddr,
    },
    /// A limit of zero would refuse everything.
    #[error("expected `{setting}` above zero, found 0")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
}

/// Builds a [`Server`]; [`ServerConfig`] says what each setting means.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ServerBuilder {
    config: ServerConfig,
    keys: Option<Keys>,
    tls: Option<Tls>,
    embeddings: Option<EmbeddingModel>,
}

impl ServerBuilder {
    /// Sets [`ServerConfig::address`].
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.config.address = address;
        self
    }

    /// Takes only requests with one of these keys.
    pub fn keys(mut self, keys: Keys) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Answers `/v1/embeddings` with this model, beside the one that is served.
    pub fn embedding_model(mut self, model: EmbeddingModel) -> Self {
        self.embeddings = Some(model);
        self
    }

    /// Speaks TLS.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets [`ServerConfig::allow_anyone`].
    pub fn allow_anyone(mut self, allow: bool) -> Self {
        self.config.allow_anyone = allow;
        self
    }

    /// Sets [`ServerConfig::share_prefixes`].
    pub fn share_prefixes(mut self, share: bool) -> Self {
        self.config.share_prefixes = share;
        self
    }

    /// Sets [`ServerConfig::max_connections`].
    pub fn max_connections(mut self, n_connections: usize) -> Self {
        self.config.max_connections = n_connections;
        self
    }

    /// Sets [`ServerConfig::max_body_bytes`].
    pub fn max_body_bytes(mut self, n_bytes: usize) -> Self {
        self.config.max_body_bytes = n_bytes;
        self
    }

    /// Sets [`ServerConfig::request_timeout`].
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.config.request_timeout = time;
        self
    }

    /// Sets [`ServerConfig::read_timeout`].
    pub fn read_timeout(mut self, time: Duration) -> Self {
        self.config.read_timeout = time;
        self
    }

    /// Sets [`ServerConfig::stall_timeout`].
    pub fn stall_timeout(mut self, time: Duration) -> Self {
        self.config.stall_timeout = time;
        self
    }

    /// Sets [`ServerConfig::drain_limit`].
    pub fn drain_limit(mut self, time: Duration) -> Self {
        self.config.drain_limit = time;
        self
    }

    /// Checks the settings and makes the server.
    ///
    /// # Errors
    ///
    /// When a setting cannot work; see [`ServerConfig::validate`].
    pub fn build(self) -> Result<Server, ConfigError> {
        self.config.validate()?;
        let address = self.config.address;
        if self.keys.is_none() && !self.config.allow_anyone && !address.ip().is_loopback() {
            return Err(ConfigError::Open { address });
        }
        let mut server = Server::new(self.config, self.keys, self.tls);
        server.embeddings = self.embeddings;
        Ok(server)
    }
}
