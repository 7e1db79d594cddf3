//! What the server is doing, as numbers that anyone may read at any time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use firebox_engine::{FinishReason, Finished};

/// A handle to a server's counts; clones read the same server.
#[derive(Clone, Debug, Default)]
pub struct ServerMetrics {
    pub(crate) counters: Arc<Counters>,
    pub(crate) times: Arc<Times>,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) stopped: AtomicU64,
    pub(crate) cut_by_length: AtomicU64,
    pub(crate) interrupted: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) completion_tokens: AtomicU64,
}

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) first_token: Histogram,
    pub(crate) between_tokens: Histogram,
    pub(crate) whole: Histogram,
}

/// Upper bounds of a histogram's buckets, in seconds; one more bucket has no bound.
pub(crate) const BOUNDS_S: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 30.0, 120.0,
];

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_S.len() + 1],
    total_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(us, Relaxed);
    }

    /// Times up to each bound, then all.
    pub(crate) fn cumulative(&self) -> Vec<u64> {
        let mut n = 0;
        let counts = self.buckets.iter().map(|bucket| {
            n += bucket.load(Relaxed);
            n
        });
        counts.collect()
    }

    pub(crate) fn total_s(&self) -> f64 {
        self.total_us.load(Relaxed) as f64 / 1e6
    }
}

impl ServerMetrics {
    pub(crate) fn count_finished(&self, finished: &Finished) {
        let counters = &self.counters;
        let by_reason = match finished.reason {
            FinishReason::Stop => &counters.stopped,
            FinishReason::Length => &counters.cut_by_length,
        };
        by_reason.fetch_add(1, Relaxed);
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Relaxed);
        add(&counters.prompt_tokens, finished.n_prompt_tokens);
        add(&counters.completion_tokens, finished.n_new_tokens);
    }

    /// HTTP requests received so far, whatever came of them.
    pub fn n_requests(&self) -> u64 {
        self.counters.requests.load(Relaxed)
    }

    /// Answers that came to their own end.
    pub fn n_finished(&self) -> u64 {
        self.counters.stopped.load(Relaxed) + self.counters.cut_by_length.load(Relaxed)
    }

    /// Answers that did not: given up, out of time, failed.
    pub fn n_interrupted(&self) -> u64 {
        self.counters.interrupted.load(Relaxed)
    }

    /// Prompt tokens of answers that came to their own end.
    pub fn n_prompt_tokens(&self) -> u64 {
        self.counters.prompt_tokens.load(Relaxed)
    }

    /// New tokens of answers that came to their own end.
    pub fn n_completion_tokens(&self) -> u64 {
        self.counters.completion_tokens.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_first_bucket_that_holds_them() {
        let histogram = Histogram::default();
        for ms in [1, 5, 6, 300_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let counts = histogram.cumulative();
        assert_eq!(counts[..4], [1, 1, 2, 3]);
        assert_eq!((counts[15], counts[16]), (3, 4));
        assert!((histogram.total_s() - 300.012).abs() < 1e-9);
    }
}
