//! The node that plans queries and hands out tasks.

use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use ballista_core::utils::default_session_builder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use tokio::net::TcpListener;

use super::codec::{LogicalCodec, PhysicalCodec};
use super::{MAX_MESSAGE_BYTES, network_error};
use crate::ClusterError;
use crate::store::Stores;

const STEP: &str = "run the scheduler";

/// Runs a scheduler on a port that is already bound, until it fails or the future is dropped.
///
/// It lists files in `stores` while it plans, and touches no data. It has no password: whoever reaches
/// the port can run queries with the executors' stores, so keep it within a trusted network.
///
/// # Errors
/// [`ClusterError::Network`].
pub async fn serve_scheduler(listener: TcpListener, stores: Stores) -> Result<(), ClusterError> {
    let address = listener
        .local_addr()
        .map_err(|error| network_error(STEP, error))?;
    let config = SchedulerConfig {
        bind_host: address.ip().to_string(),
        external_host: address.ip().to_string(),
        bind_port: address.port(),
        grpc_server_max_decoding_message_size: MAX_MESSAGE_BYTES as u32,
        grpc_server_max_encoding_message_size: MAX_MESSAGE_BYTES as u32,
        grpc_client_max_message_size: MAX_MESSAGE_BYTES as u32,
        override_config_producer: Some(Arc::new(session_config)),
        override_session_builder: Some(Arc::new(move |config| {
            let runtime = RuntimeEnvBuilder::new().build_arc()?;
            stores.register(&runtime);
            let state = default_session_builder(config)?;
            Ok(SessionStateBuilder::new_from_existing(state)
                .with_runtime_env(runtime)
                .build())
        })),
        override_logical_codec: Some(Arc::new(LogicalCodec::default())),
        override_physical_codec: Some(Arc::new(PhysicalCodec::default())),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config)
        .await
        .map_err(|error| network_error(STEP, error))?;
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config.into())
        .await
        .map_err(|error| network_error(STEP, error))?;
    start_grpc_service_with_listener(listener, scheduler)
        .await
        .map_err(|error| network_error(STEP, error))
}

/// What scheduler and executors start a session from, before the client's settings.
pub(super) fn session_config() -> SessionConfig {
    SessionConfig::new_with_ballista().with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
}
