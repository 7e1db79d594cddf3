//! Ranks that are processes, on one machine or many, started by `mpirun`.

use mpi::{
    Threading,
    collective::SystemOperation,
    environment::Universe,
    topology::SimpleCommunicator,
    traits::{Communicator as _, CommunicatorCollectives, Equivalence, Root},
};

use super::world::{Communicator, World, WorldError};

/// Values in one message: a count is an i32.
const MAX_VALUES: usize = 1 << 28;

struct MpiCommunicator {
    world: SimpleCommunicator,
    /// Dropped last: it takes leave.
    _universe: Universe,
}

impl World {
    /// The processes that `mpirun` started together; one where it did not start this one.
    ///
    /// # Errors
    /// When MPI was started before in this process.
    pub fn mpi() -> Result<Self, WorldError> {
        Self::start(|| {
            // All calls come from this one thread.
            let (universe, _) =
                mpi::initialize_with_threading(Threading::Funneled).ok_or_else(|| {
                    WorldError::Start(
                        "expected to be the first to start MPI in this process, found it started \
                         (hint: call `World::mpi` once, and share the world)"
                            .to_owned(),
                    )
                })?;
            Ok(MpiCommunicator {
                world: universe.world(),
                _universe: universe,
            })
        })
    }
}

impl MpiCommunicator {
    fn sum<T: Equivalence + Copy>(&self, values: &mut [T]) {
        for values in values.chunks_mut(MAX_VALUES) {
            let own = values.to_vec();
            self.world
                .all_reduce_into(&own[..], values, SystemOperation::sum());
        }
    }
}

impl Communicator for MpiCommunicator {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn n_ranks(&self) -> usize {
        self.world.size() as usize
    }

    // MPI ends all processes when a call fails: there is no error to return.
    fn sum_f32(&mut self, values: &mut [f32]) -> Result<(), WorldError> {
        self.sum(values);
        Ok(())
    }

    fn broadcast_f32(&mut self, root: usize, values: &mut [f32]) -> Result<(), WorldError> {
        let root = self.world.process_at_rank(root as i32);
        for values in values.chunks_mut(MAX_VALUES) {
            root.broadcast_into(values);
        }
        Ok(())
    }

    fn sum_f64(&mut self, values: &mut [f64]) -> Result<(), WorldError> {
        self.sum(values);
        Ok(())
    }
}
