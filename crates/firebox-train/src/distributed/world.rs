//! The ranks of a run, and one thread that talks to them.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How often a rank that waits asks whether the run was cancelled.
const POLL: Duration = Duration::from_millis(50);
/// How long a cancelled rank waits for the others, which may be gone.
const GRACE: Duration = Duration::from_millis(500);

/// Sums over ranks. Every rank makes the same calls in the same order.
pub trait Communicator: 'static {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn n_ranks(&self) -> usize;

    /// Replaces values by their sums over all ranks: the same bits on each of them.
    ///
    /// # Errors
    /// When a rank is gone.
    fn sum_f32(&mut self, values: &mut [f32]) -> Result<(), WorldError>;

    /// The same for f64.
    ///
    /// # Errors
    /// When a rank is gone.
    fn sum_f64(&mut self, values: &mut [f64]) -> Result<(), WorldError>;

    /// Replaces values by those of one rank; the others' are of the same number and do not matter. By
    /// default a sum with zeros, which turns -0 into 0.
    ///
    /// # Errors
    /// When a rank is gone.
    fn broadcast_f32(&mut self, root: usize, values: &mut [f32]) -> Result<(), WorldError> {
        if self.rank() != root {
            values.fill(0.0);
        }
        self.sum_f32(values)
    }
}

/// The ranks cannot go on together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// Another rank has ended.
    #[error(
        "sum over ranks: expected all {n_ranks} ranks, found one that has ended (hint: its own message \
         says why; the run goes on from its last checkpoint with `Place::Resume`)"
    )]
    RankLost {
        /// How many there were.
        n_ranks: usize,
    },
    /// The run was cancelled, and the others did not answer.
    #[error(
        "sum over ranks: expected an answer of the others, found none after the run was cancelled (hint: it \
         goes on from its last checkpoint with `Place::Resume`)"
    )]
    Cancelled,
    /// What another rank said is not understood.
    #[error(
        "read what another rank keeps: expected the states that this build writes, found others: {0} (hint: \
         start the same program on every rank)"
    )]
    OtherBuild(String),
    /// The ranks could not find each other.
    #[error("start ranks: {0}")]
    Start(String),
}

/// The ranks of a run. One thread does all the talking, in the order in which sums are asked for, so
/// that they go on while gradients are computed.
#[derive(Debug)]
pub struct World {
    rank: usize,
    n_ranks: usize,
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Job {
    F32(Vec<f32>, Sender<Result<Vec<f32>, WorldError>>),
    F64(Vec<f64>, Sender<Result<Vec<f64>, WorldError>>),
    /// One rank's values on all.
    Broadcast(usize, Vec<f32>, Sender<Result<Vec<f32>, WorldError>>),
    End,
}

/// A sum that was asked for.
#[derive(Debug)]
pub(crate) struct Pending<T>(Receiver<Result<Vec<T>, WorldError>>);

impl World {
    /// Starts the thread, in which `join` finds the other ranks.
    ///
    /// # Errors
    /// Those of `join`.
    pub fn start<C: Communicator>(
        join: impl FnOnce() -> Result<C, WorldError> + Send + 'static,
    ) -> Result<Self, WorldError> {
        let (jobs, queue) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || match join() {
            Ok(communicator) => {
                let _ = tell.send(Ok((communicator.rank(), communicator.n_ranks())));
                serve(communicator, &queue);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        });
        let ended = |_| {
            let text = "expected ranks to talk to, found that joining them panicked (hint: its message is above)";
            WorldError::Start(text.to_owned())
        };
        let (rank, n_ranks) = told.recv().map_err(ended)??;
        Ok(Self {
            rank,
            n_ranks,
            jobs,
            thread,
        })
    }

    /// This rank, from 0. Rank 0 writes and evaluates.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    #[must_use]
    pub fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    /// Takes leave of the other ranks, once all sums are done: the last call of a run that went well. After
    /// an error, end the process instead; the others would be waited for, and they for this one.
    pub fn finish(self) {
        let _ = self.jobs.send(Job::End); // A thread that has ended need not be told.
        let _ = self.thread.join();
    }

    pub(crate) fn sender(&self) -> WorldSender {
        WorldSender(self.jobs.clone())
    }

    /// The values of rank `root` on every rank.
    pub(crate) fn broadcast(&self, root: usize, values: Vec<f32>) -> Pending<f32> {
        ask(&self.jobs, |reply| Job::Broadcast(root, values, reply))
    }

    /// The sum over ranks, waited for.
    pub(crate) fn sum(
        &self,
        values: Vec<f64>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<f64>, WorldError> {
        let pending = ask(&self.jobs, |reply| Job::F64(values, reply));
        self.wait(&pending, is_cancelled)
    }

    /// One text of each rank, in their order.
    pub(crate) fn gather(
        &self,
        text: &str,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<String>, WorldError> {
        let mut lengths = vec![0.0; self.n_ranks];
        lengths[self.rank] = text.len() as f64;
        let lengths = self.sum(lengths, is_cancelled)?;
        let lengths: Vec<usize> = lengths.iter().map(|length| *length as usize).collect();
        // Every byte is one rank's, and zero elsewhere: the sum is exact.
        let mut bytes = vec![0.0; lengths.iter().sum()];
        let start: usize = lengths[..self.rank].iter().sum();
        for (slot, byte) in bytes[start..].iter_mut().zip(text.bytes()) {
            *slot = f64::from(byte);
        }
        let bytes = self.sum(bytes, is_cancelled)?;
        let mut bytes = bytes.iter().map(|byte| *byte as u8);
        let texts = lengths.iter().map(|length| {
            let text: Vec<u8> = bytes.by_ref().take(*length).collect();
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(texts.collect())
    }

    pub(crate) fn wait<T>(
        &self,
        pending: &Pending<T>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Vec<T>, WorldError> {
        let mut cancelled_at = None;
        loop {
            match pending.0.recv_timeout(POLL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    let n_ranks = self.n_ranks;
                    return Err(WorldError::RankLost { n_ranks });
                }
                Err(RecvTimeoutError::Timeout) if is_cancelled() => {
                    let since: &mut Instant = cancelled_at.get_or_insert_with(Instant::now);
                    if since.elapsed() > GRACE {
                        return Err(WorldError::Cancelled);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Asks for sums from within a backward pass.
#[derive(Debug, Clone)]
pub(crate) struct WorldSender(Sender<Job>);

impl WorldSender {
    pub(crate) fn sum(&self, values: Vec<f32>) -> Pending<f32> {
        ask(&self.0, |reply| Job::F32(values, reply))
    }
}

/// Hands a job to the thread. That it has ended shows in the reply.
fn ask<T>(
    jobs: &Sender<Job>,
    job: impl FnOnce(Sender<Result<Vec<T>, WorldError>>) -> Job,
) -> Pending<T> {
    let (reply, pending) = mpsc::channel();
    let _ = jobs.send(job(reply));
    Pending(pending)
}

/// Until it is told to end, or nobody can ask any more. Nobody may be waiting for an answer.
fn serve(mut communicator: impl Communicator, queue: &Receiver<Job>) {
    for job in queue {
        match job {
            Job::F32(mut values, reply) => {
                let result = communicator.sum_f32(&mut values);
                let _ = reply.send(result.map(|()| values));
            }
            Job::F64(mut values, reply) => {
                let result = communicator.sum_f64(&mut values);
                let _ = reply.send(result.map(|()| values));
            }
            Job::Broadcast(root, mut values, reply) => {
                let result = communicator.broadcast_f32(root, &mut values);
                let _ = reply.send(result.map(|()| values));
            }
            Job::End => return,
        }
    }
}
