//! The processes that `mpirun` started to train together.

use firebox_data::RankShard;
use firebox_tensor::DeviceChoice;
use firebox_train::World;

use crate::cli::output;

/// What tells a process how many there are: of Open MPI, and of MPICH and its relatives.
const N_RANKS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// How many of them are on this machine, where that is told.
const N_LOCAL_RANKS: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"];

/// The place among those on this machine.
const LOCAL_RANK: [&str; 2] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"];

/// The ranks of this run; none where it runs alone.
#[derive(Debug)]
pub(super) struct Ranks(Option<World>);

impl Ranks {
    /// Finds the others, where `mpirun` started more than one. Only the one that leads says what it
    /// notices from then on.
    pub(super) fn join() -> anyhow::Result<Self> {
        let ranks = match number(N_RANKS) {
            None | Some(0 | 1) => Self(None),
            Some(n_ranks) => Self(Some(join(n_ranks)?)),
        };
        if !ranks.leads() {
            output::fall_silent();
        }
        Ok(ranks)
    }

    pub(super) fn world(&self) -> Option<&World> {
        self.0.as_ref()
    }

    /// Whether this process prints and writes.
    pub(super) fn leads(&self) -> bool {
        self.world().is_none_or(|world| world.rank() == 0)
    }

    pub(super) fn count(&self) -> usize {
        self.world().map_or(1, World::n_ranks)
    }

    /// Those that share this machine's memory.
    pub(super) fn count_here(&self) -> usize {
        match self.count() {
            1 => 1,
            n_ranks => number(N_LOCAL_RANKS).map_or(n_ranks, |here| here.clamp(1, n_ranks)),
        }
    }

    /// The device for `choice`: by `auto`, the ranks of a machine take its GPUs in turn.
    pub(super) fn device(&self, choice: DeviceChoice) -> DeviceChoice {
        match self.world() {
            Some(world) => choice.of_process(number(LOCAL_RANK).unwrap_or_else(|| world.rank())),
            None => choice,
        }
    }

    /// This process's share of a loader's documents.
    pub(super) fn shard(&self) -> RankShard {
        match self.world() {
            Some(world) => RankShard {
                rank: world.rank(),
                n_ranks: world.n_ranks(),
            },
            None => RankShard::default(),
        }
    }

    /// Takes leave of the others after a run that went well.
    pub(super) fn finish(self) {
        if let Some(world) = self.0 {
            world.finish();
        }
    }
}

/// The first variable of these that has a number.
fn number(names: [&str; 2]) -> Option<usize> {
    names
        .iter()
        .find_map(|name| std::env::var(name).ok()?.parse().ok())
}

#[cfg(feature = "mpi")]
fn join(_n_ranks: usize) -> anyhow::Result<World> {
    Ok(World::mpi()?)
}

#[cfg(not(feature = "mpi"))]
fn join(n_ranks: usize) -> anyhow::Result<World> {
    let text = format!(
        "train: expected a build with MPI for {n_ranks} ranks, found one without (hint: build it with \
         `--features mpi`, which needs the packages libopenmpi-dev and libclang-dev)"
    );
    Err(crate::cli::exit::UserError(text).into())
}
