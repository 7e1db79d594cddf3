//! What is in each chunk: a function of its number, whoever computes it.

use crate::packing::pack;
use crate::shuffle::SplitMix64;
use crate::{
    Example, LoaderConfig, LoaderError, Mixture, Order, Permutation, RowLayout,
    TruncationStatistics, WeightedSource,
};

use super::state::SourceState;

/// The examples of all ranks stand in one sequence, in which the mixture says whose turn it is; rank
/// `r` of `n` has those at `r`, `r + n`, `r + 2n` and so on, and its chunks are runs of these.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: LoaderConfig,
    sources: Vec<WeightedSource>,
    fingerprints: Vec<u64>,
    /// At turn 0; cloned by whoever walks through it.
    pub(super) mixture: Mixture,
}

/// The rows that a run of examples makes.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) rows: Vec<Vec<Example>>,
    pub(super) truncation: TruncationStatistics,
    pub(super) n_without_loss: usize,
}

impl Plan {
    pub(super) fn new(
        sources: Vec<WeightedSource>,
        config: LoaderConfig,
    ) -> Result<Self, LoaderError> {
        config.check()?;
        let weights: Vec<f64> = sources.iter().map(|source| source.weight).collect();
        let mixture = Mixture::new(&weights)?;
        for (index, source) in sources.iter().enumerate() {
            let name = || source.name.clone();
            if source.examples.n_examples() == 0 {
                return Err(LoaderError::EmptySource { name: name() });
            }
            if sources[..index]
                .iter()
                .any(|other| other.name == source.name)
            {
                return Err(LoaderError::SameName { name: name() });
            }
        }
        let fingerprints = sources.iter().map(|source| source.examples.fingerprint());
        Ok(Self {
            config,
            fingerprints: fingerprints.collect(),
            sources,
            mixture,
        })
    }

    /// How many chunks this rank has; none if they do not end.
    pub(super) fn n_chunks(&self) -> Option<u64> {
        let n_own = self.n_own_examples()?;
        Some(n_own.div_ceil(self.config.chunk_examples()))
    }

    fn n_own_examples(&self) -> Option<u64> {
        let shard = self.config.shard;
        let n_examples = self.config.n_examples?;
        let n_from_own_on = n_examples.saturating_sub(shard.rank as u64);
        Some(n_from_own_on.div_ceil(shard.n_ranks as u64))
    }

    /// The turn of this rank's example, counted from 0.
    fn turn_of(&self, own: u64) -> u64 {
        let shard = self.config.shard;
        own.saturating_mul(shard.n_ranks as u64)
            .saturating_add(shard.rank as u64)
    }

    /// Turns, over all ranks, up to the end of a chunk.
    pub(super) fn n_turns_before(&self, chunk: u64) -> u64 {
        let n_turns = chunk
            .saturating_mul(self.config.chunk_examples())
            .saturating_mul(self.config.shard.n_ranks as u64);
        self.config
            .n_examples
            .map_or(n_turns, |limit| n_turns.min(limit))
    }

    /// Turns in which each source is gone through at least once.
    pub(super) fn n_turns_of_a_pass(&self) -> u64 {
        let turns = self.sources.iter().enumerate().map(|(index, source)| {
            let (share, period) = self.mixture.share(index);
            (source.examples.n_examples() as u64 + 1).saturating_mul(period) / share
        });
        turns.max().unwrap_or(0)
    }

    /// Loads a chunk; `mixture` is anywhere, and best a little before it.
    pub(super) fn chunk(&self, mixture: &mut Mixture, chunk: u64) -> Result<Chunk, LoaderError> {
        let chunk_examples = self.config.chunk_examples();
        let start = chunk.saturating_mul(chunk_examples);
        let end = start.saturating_add(chunk_examples);
        let end = self.n_own_examples().map_or(end, |n_own| end.min(n_own));
        let mut truncation = TruncationStatistics::default();
        let (mut kept, mut n_without_loss) = (Vec::new(), 0);
        for own in start..end {
            mixture.seek(self.turn_of(own));
            let turn = mixture.next_turn();
            let example = self.example(turn.source, turn.n_before)?;
            let rule = self.config.truncation;
            for part in rule.apply(example, self.config.max_len, &mut truncation)? {
                if part.n_loss_tokens() > 0 {
                    kept.push(part);
                } else {
                    n_without_loss += 1;
                }
            }
        }
        let rows = match self.config.layout {
            RowLayout::OnePerRow => kept.into_iter().map(|example| vec![example]).collect(),
            RowLayout::Packed { .. } => pack(kept, self.config.max_len)?,
        };
        Ok(Chunk {
            rows,
            truncation,
            n_without_loss,
        })
    }

    /// The example that a source gives after `n_before` others.
    fn example(&self, source_index: usize, n_before: u64) -> Result<Example, LoaderError> {
        let source = &self.sources[source_index];
        let n_examples = source.examples.n_examples() as u64;
        let (epoch, place) = (n_before / n_examples, n_before % n_examples);
        let index = match self.config.order {
            Order::InOrder => place,
            Order::Shuffled { seed } => {
                let seed = epoch_seed(seed, source_index as u64, epoch);
                Permutation::new(n_examples, seed)
                    .get(place)
                    .unwrap_or(place)
            }
        };
        let index = index as usize;
        source
            .examples
            .example(index)
            .map_err(|error| LoaderError::Example {
                name: source.name.clone(),
                index,
                source: error,
            })
    }

    /// Where each source is after a number of turns.
    pub(super) fn source_states(&self, n_turns: u64) -> Vec<SourceState> {
        let mut mixture = self.mixture.clone();
        mixture.seek(n_turns);
        let states = self.sources.iter().enumerate().map(|(index, source)| {
            let n_examples = source.examples.n_examples() as u64;
            let n_taken = mixture.n_taken(index);
            SourceState {
                name: source.name.clone(),
                weight: source.weight,
                n_examples,
                fingerprint: format!("{:016x}", self.fingerprints[index]),
                n_taken,
                epoch: n_taken / n_examples,
            }
        });
        states.collect()
    }
}

/// Decides the order of one epoch of one source: neighbouring seeds, sources and epochs do not
/// overlap.
fn epoch_seed(seed: u64, source: u64, epoch: u64) -> u64 {
    let mixed = |state| SplitMix64 { state }.next();
    mixed(mixed(seed ^ mixed(source)) ^ epoch)
}
