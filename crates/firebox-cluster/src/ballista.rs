//! The same queries on a Ballista cluster: its scheduler, its executors, and the client.

mod codec;
mod executor;
mod scheduler;

use std::sync::Arc;

use ballista_core::extension::{SessionConfigExt, SessionStateExt};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use executor::{ExecutorConfig, serve_executor};
pub use scheduler::serve_scheduler;

use crate::engine::EngineConfig;
use crate::{ClusterError, Engine};
use codec::LogicalCodec;

/// Largest message between the nodes, in bytes: plans name every input file.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

impl Engine {
    /// A cluster, by the address of its scheduler: `127.0.0.1:50050`.
    ///
    /// [`n_tasks`](EngineConfig::n_tasks) goes with every query; memory, disk and stores are those of this
    /// process, which lists files and plans. The executors have their own ([`ExecutorConfig`]). All nodes
    /// must be able to open the same URLs: an object store, or a file system that all of them have.
    ///
    /// # Errors
    /// [`ClusterError::BadSetting`], or [`ClusterError::Engine`] if the address does not parse. A
    /// scheduler that is not there is noticed by the first query.
    pub fn remote(scheduler: &str, config: EngineConfig) -> Result<Self, ClusterError> {
        config.validate()?;
        let step = "connect to the scheduler";
        let runtime = config.runtime().map_err(ClusterError::engine(step))?;
        let session = config
            .adjust(SessionConfig::new_with_ballista())
            .with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
            .with_ballista_logical_extension_codec(Arc::new(LogicalCodec::default()));
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(session)
            .with_runtime_env(runtime)
            .build()
            .upgrade_for_ballista(format!("http://{scheduler}"))
            .map_err(ClusterError::engine(step))?;
        Ok(Self::with_context(
            SessionContext::new_with_state(state),
            config,
        ))
    }
}

fn network_error(
    step: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ClusterError {
    ClusterError::Network {
        step,
        source: source.into(),
    }
}
