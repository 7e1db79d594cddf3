//! Data parallel: every rank has the whole model and its own share of the batches, and gradients are
//! summed over ranks while the backward pass still runs.

mod buckets;
#[cfg(feature = "mpi")]
mod mpi;
mod rank_batches;
mod sharding;
mod thread_group;
mod world;

pub(crate) use buckets::{Reducer, StepBuckets};
pub use rank_batches::RankBatches;
pub(crate) use sharding::{SharedStates, Shares};
pub use thread_group::{ThreadCommunicator, thread_group};
pub use world::{Communicator, World, WorldError};

#[cfg(all(test, feature = "cpu"))]
#[expect(clippy::unwrap_used, reason = "helpers of tests")]
mod tests;
