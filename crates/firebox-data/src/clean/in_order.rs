//! Work on several threads whose results are used in the order of the input.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Items that may be under way for each thread: results that wait for an earlier one are held in memory.
const N_AHEAD: u64 = 4;

/// Takes items from `source`, works on them on `n_threads` threads, and gives the results to `commit` one
/// by one in the order of the items. The first error in that order ends it; what comes before it has been
/// committed, nothing behind it is.
///
/// There are never more than `n_threads` threads at work: whoever is free takes the next item from the
/// source itself, and whoever holds the result that is next commits it.
///
/// # Panics
/// When one of the three does.
pub fn in_order<T, R, E>(
    n_threads: usize,
    source: impl Iterator<Item = Result<T, E>> + Send,
    work: impl Fn(T) -> Result<R, E> + Sync,
    commit: impl FnMut(R) -> Result<(), E> + Send,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send,
{
    let line = Line {
        n_ahead: N_AHEAD * n_threads as u64,
        source: Mutex::new((0, source)),
        results: Mutex::new(Results {
            n_taken: 0,
            n_committed: 0,
            waiting: BTreeMap::new(),
            commit,
            error: None,
            is_over: false,
        }),
        room: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(|| line.run(&work));
        }
        line.run(&work);
    });
    let results = line.results.into_inner();
    match results.unwrap_or_else(PoisonError::into_inner).error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

struct Line<S, R, E, C> {
    n_ahead: u64,
    /// The number of the next item, and where it comes from.
    source: Mutex<(u64, S)>,
    results: Mutex<Results<R, E, C>>,
    /// Something was committed, or it is over.
    room: Condvar,
}

struct Results<R, E, C> {
    n_taken: u64,
    n_committed: u64,
    waiting: BTreeMap<u64, Result<R, E>>,
    commit: C,
    error: Option<E>,
    is_over: bool,
}

impl<S, T, R, E, C> Line<S, R, E, C>
where
    S: Iterator<Item = Result<T, E>>,
    C: FnMut(R) -> Result<(), E>,
{
    /// What one thread does.
    fn run(&self, work: impl Fn(T) -> Result<R, E>) {
        let stop = StopOnPanic(self);
        while self.wait_for_room() {
            let Some((index, item)) = self.next() else {
                self.untake();
                break;
            };
            self.put(index, item.and_then(&work));
        }
        std::mem::forget(stop);
    }

    fn results(&self) -> MutexGuard<'_, Results<R, E, C>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place among the items under way; false when it is over.
    fn wait_for_room(&self) -> bool {
        let full = |results: &mut Results<R, E, C>| {
            !results.is_over && results.n_taken - results.n_committed >= self.n_ahead
        };
        let results = self.room.wait_while(self.results(), full);
        let mut results = results.unwrap_or_else(PoisonError::into_inner);
        results.n_taken += 1;
        !results.is_over
    }

    fn next(&self) -> Option<(u64, Result<T, E>)> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let item = source.1.next()?;
        let index = source.0;
        source.0 += 1;
        Some((index, item))
    }

    /// Gives back a place for which there was no item.
    fn untake(&self) {
        self.results().n_taken -= 1;
        self.room.notify_all();
    }

    /// Keeps a result, and commits what is next.
    fn put(&self, index: u64, result: Result<R, E>) {
        let mut results = self.results();
        results.waiting.insert(index, result);
        while !results.is_over {
            let next = results.n_committed;
            let Some(result) = results.waiting.remove(&next) else {
                break;
            };
            let committed = result.and_then(|result| (results.commit)(result));
            results.n_committed += 1;
            if let Err(error) = committed {
                results.error = Some(error);
                results.is_over = true;
            }
        }
        self.room.notify_all();
    }
}

/// Lets the other threads end when one panics, so that the panic comes out.
struct StopOnPanic<'a, S, R, E, C>(&'a Line<S, R, E, C>);

impl<S, R, E, C> Drop for StopOnPanic<'_, S, R, E, C> {
    fn drop(&mut self) {
        let results = self.0.results.lock();
        results.unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests;
