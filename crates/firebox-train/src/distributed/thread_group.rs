//! Ranks that are threads of one process.

use std::{
    ops::AddAssign,
    sync::mpsc::{self, Receiver, Sender},
};

use super::world::{Communicator, WorldError};

/// One of the ranks of a [`thread_group`].
#[derive(Debug)]
pub struct ThreadCommunicator {
    rank: usize,
    n_ranks: usize,
    f32s: Links<f32>,
    f64s: Links<f64>,
}

/// `n_ranks` communicators for threads of this process, such as one for each of its GPUs.
///
/// # Panics
/// When there is no rank.
#[must_use]
pub fn thread_group(n_ranks: usize) -> Vec<ThreadCommunicator> {
    assert!(n_ranks > 0, "expected at least one rank");
    let links = links(n_ranks).into_iter().zip(links(n_ranks)).enumerate();
    let ranks = links.map(|(rank, (f32s, f64s))| ThreadCommunicator {
        rank,
        n_ranks,
        f32s,
        f64s,
    });
    ranks.collect()
}

/// What one end tells the other, and hears of it.
#[derive(Debug)]
struct Link<T> {
    tell: Sender<Vec<T>>,
    hear: Receiver<Vec<T>>,
}

/// Rank 0 hears all others and answers each.
#[derive(Debug)]
enum Links<T> {
    Root(Vec<Link<T>>),
    Other(Link<T>),
}

fn links<T>(n_ranks: usize) -> Vec<Links<T>> {
    let (mut root, mut others) = (Vec::new(), Vec::new());
    for _ in 1..n_ranks {
        let (tell, hear) = mpsc::channel();
        let (answer, answered) = mpsc::channel();
        root.push(Link { tell: answer, hear });
        others.push(Links::Other(Link {
            tell,
            hear: answered,
        }));
    }
    others.insert(0, Links::Root(root));
    others
}

impl<T: Copy + AddAssign> Links<T> {
    /// `None` when a rank has dropped its end.
    fn sum(&self, values: &mut [T]) -> Option<()> {
        match self {
            Self::Root(others) => {
                for other in others {
                    let addends = other.hear.recv().ok()?;
                    values
                        .iter_mut()
                        .zip(&addends)
                        .for_each(|(value, addend)| *value += *addend);
                }
                others
                    .iter()
                    .try_for_each(|other| other.tell.send(values.to_vec()).ok())
            }
            Self::Other(root) => {
                root.tell.send(values.to_vec()).ok()?;
                values.copy_from_slice(&root.hear.recv().ok()?);
                Some(())
            }
        }
    }
}

impl Communicator for ThreadCommunicator {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    fn sum_f32(&mut self, values: &mut [f32]) -> Result<(), WorldError> {
        let n_ranks = self.n_ranks;
        self.f32s
            .sum(values)
            .ok_or(WorldError::RankLost { n_ranks })
    }

    fn sum_f64(&mut self, values: &mut [f64]) -> Result<(), WorldError> {
        let n_ranks = self.n_ranks;
        self.f64s
            .sum(values)
            .ok_or(WorldError::RankLost { n_ranks })
    }
}
