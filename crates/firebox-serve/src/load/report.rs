//! What was measured.

use std::time::Duration;

use serde::Serialize;

use super::client::Timed;
use super::{Arrivals, LoadError};
use crate::error::whole_story;

const PERCENTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 1.0];

/// How a server bore a load; times in seconds.
#[derive(Debug, Serialize)]
pub struct LoadReport {
    /// The model that was asked for.
    pub model: String,
    /// Clients, where each waits for its answers.
    pub clients: Option<usize>,
    /// Requests a second that were begun on average, where none waits.
    pub rate: Option<f64>,
    /// Requests that were answered to the end.
    pub answered: usize,
    /// Requests that were refused, or whose answer broke off.
    pub failed: usize,
    /// Why the first of them failed.
    pub first_error: Option<String>,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Of all answered requests.
    pub prompt_tokens: usize,
    /// Of all answers.
    pub new_tokens: usize,
    /// Answers a second.
    pub requests_per_s: f64,
    /// Of all answers together.
    pub new_tokens_per_s: f64,
    /// From a request to its first text.
    pub first_token_s: Spread,
    /// Between one text and the next.
    pub between_tokens_s: Spread,
    /// An answer's time after its first text, over its tokens after the first.
    pub time_per_token_s: Spread,
    /// From a request to its end.
    pub whole_s: Spread,
}

/// How times are spread, in seconds; each but the mean is a time that was measured.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are no longer.
    pub p90: f64,
    /// 95 of a hundred are no longer.
    pub p95: f64,
    /// 99 of a hundred are no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut seconds: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        if seconds.is_empty() {
            return Self::default();
        }
        seconds.sort_by(f64::total_cmp);
        // The smallest value that so large a part does not exceed.
        let at = |part: f64| {
            let rank = (part * seconds.len() as f64).ceil() as usize;
            seconds[rank.max(1) - 1]
        };
        let [p50, p90, p95, p99, max] = PERCENTILES.map(at);
        Self {
            mean: seconds.iter().sum::<f64>() / seconds.len() as f64,
            p50,
            p90,
            p95,
            p99,
            max,
        }
    }
}

impl LoadReport {
    pub(super) fn new(
        model: String,
        arrivals: Arrivals,
        answers: Vec<Result<Timed, LoadError>>,
        took: Duration,
    ) -> Self {
        let (mut timed, mut first_error, mut failed) = (Vec::new(), None, 0);
        for answer in answers {
            match answer {
                Ok(answer) => timed.push(answer),
                Err(error) => {
                    failed += 1;
                    first_error.get_or_insert_with(|| whole_story(&error));
                }
            }
        }
        let seconds = took.as_secs_f64();
        let new_tokens = timed.iter().map(|one| one.n_new_tokens).sum();
        let per_token = |one: &Timed| {
            let n_after = one.n_new_tokens.saturating_sub(1).max(1) as u32;
            (one.whole - one.first_token) / n_after
        };
        Self {
            model,
            clients: match arrivals {
                Arrivals::Closed { clients } => Some(clients),
                Arrivals::Poisson { .. } => None,
            },
            rate: match arrivals {
                Arrivals::Closed { .. } => None,
                Arrivals::Poisson { rate } => Some(rate),
            },
            answered: timed.len(),
            failed,
            first_error,
            seconds,
            prompt_tokens: timed.iter().map(|one| one.n_prompt_tokens).sum(),
            new_tokens,
            requests_per_s: timed.len() as f64 / seconds,
            new_tokens_per_s: new_tokens as f64 / seconds,
            first_token_s: Spread::of(timed.iter().map(|one| one.first_token)),
            between_tokens_s: Spread::of(timed.iter().flat_map(|one| one.gaps.clone())),
            time_per_token_s: Spread::of(timed.iter().map(per_token)),
            whole_s: Spread::of(timed.iter().map(|one| one.whole)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times = (1..=100).rev().map(Duration::from_secs);
        let spread = Spread::of(times);
        let expected = Spread {
            mean: 50.5,
            p50: 50.0,
            p90: 90.0,
            p95: 95.0,
            p99: 99.0,
            max: 100.0,
        };
        assert_eq!(spread, expected);
        let one = Spread::of([Duration::from_secs(2)].into_iter());
        assert_eq!((one.p50, one.p99), (2.0, 2.0));
        assert_eq!(Spread::of([].into_iter()), Spread::default());
    }
}
