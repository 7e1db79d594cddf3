//! A node that runs tasks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};

use super::codec::{LogicalCodec, PhysicalCodec};
use super::scheduler::session_config;
use super::{MAX_MESSAGE_BYTES, network_error};
use crate::ClusterError;
use crate::engine::EngineConfig;
use crate::store::Stores;

const STEP: &str = "run an executor";

/// How an executor runs.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// The scheduler's host and port.
    pub scheduler: SocketAddr,
    /// Where other executors fetch results: a host that they can reach, and a free port.
    pub address: SocketAddr,
    /// The port after which the scheduler calls; free, on the same host.
    pub control_port: u16,
    /// Tasks at once.
    pub n_cores: usize,
    /// Memory for sorts, joins and groups, in bytes, shared by the cores; what does not fit is spilled.
    pub memory_limit_bytes: usize,
    /// Results on their way to other tasks, and what is spilled.
    pub work_folder: PathBuf,
    /// The stores that it may read and write.
    pub stores: Stores,
}

/// Runs an executor until the scheduler or a signal stops it, it fails, or the future is dropped.
///
/// Like the scheduler it has no password: keep both ports within a trusted network.
///
/// # Errors
/// [`ClusterError::BadSetting`], or [`ClusterError::Network`].
pub async fn serve_executor(config: ExecutorConfig) -> Result<(), ClusterError> {
    let engine = EngineConfig {
        n_tasks: config.n_cores,
        memory_limit_bytes: config.memory_limit_bytes,
        spill_folder: Some(config.work_folder.clone()),
        stores: config.stores,
        ..EngineConfig::default()
    };
    engine.validate()?;
    let host = config.address.ip().to_string();
    let process = ExecutorProcessConfig {
        bind_host: host.clone(),
        external_host: Some(host),
        port: config.address.port(),
        grpc_port: config.control_port,
        scheduler_host: config.scheduler.ip().to_string(),
        scheduler_port: config.scheduler.port(),
        scheduler_connect_timeout_seconds: 20,
        vcores: config.n_cores,
        work_dir: Some(config.work_folder.to_string_lossy().into_owned()),
        grpc_max_decoding_message_size: MAX_MESSAGE_BYTES as u32,
        grpc_max_encoding_message_size: MAX_MESSAGE_BYTES as u32,
        memory_pool_size: Some(config.memory_limit_bytes as u64),
        override_runtime_producer: Some(Arc::new(move |_| engine.runtime())),
        override_config_producer: Some(Arc::new(session_config)),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(process.into())
        .await
        .map_err(|error| network_error(STEP, error))
}
