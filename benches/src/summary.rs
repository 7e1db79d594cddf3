//! From single runs to medians and spreads.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::contender::Metric;

/// Every run that was timed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    runs: BTreeMap<Metric, Vec<ContenderRuns>>,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) tokens_per_s: f64,
    pub(crate) peak_rss_bytes: u64,
    /// Before the model was loaded, where the contender says so.
    pub(crate) start_rss_bytes: Option<u64>,
}

impl Sample {
    fn above_start_bytes(&self) -> Option<u64> {
        let start = self.start_rss_bytes?;
        Some(self.peak_rss_bytes.saturating_sub(start))
    }
}

/// The runs of one contender in one metric, in order of time.
#[derive(Debug, Clone)]
struct ContenderRuns {
    name: String,
    samples: Vec<Sample>,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) contender: String,
    /// Tokens per second of every run.
    pub(crate) runs: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// `(max - min) / median`.
    pub(crate) spread: f64,
    /// The most of any run.
    pub(crate) peak_rss_bytes: u64,
    /// The most of any run, above what the program took before it loaded the model.
    pub(crate) above_start_bytes: Option<u64>,
    /// Median of the reference (`firebox f32`) over this median; 1 for itself, `None` where it did not run.
    pub(crate) firebox_ratio: Option<f64>,
}

/// The contender that the others are compared with.
pub(crate) const REFERENCE: &str = "firebox f32";

impl Samples {
    pub(crate) fn add(&mut self, metric: Metric, name: &str, sample: Sample) {
        let rows = self.runs.entry(metric).or_default();
        match rows.iter_mut().find(|row| row.name == name) {
            Some(row) => row.samples.push(sample),
            None => rows.push(ContenderRuns {
                name: name.to_owned(),
                samples: vec![sample],
            }),
        }
    }

    /// The rows of each metric, in the order in which the contenders first ran.
    pub(crate) fn summaries(&self) -> BTreeMap<Metric, Vec<Summary>> {
        let of_metric = |rows: &Vec<ContenderRuns>| {
            let reference = rows.iter().find(|row| row.name == REFERENCE);
            let reference = reference.map(|row| median(&row.tokens_per_s()));
            rows.iter().map(|row| row.summary(reference)).collect()
        };
        self.runs
            .iter()
            .map(|(metric, rows)| (*metric, of_metric(rows)))
            .collect()
    }
}

impl ContenderRuns {
    fn tokens_per_s(&self) -> Vec<f64> {
        self.samples.iter().map(|run| run.tokens_per_s).collect()
    }

    fn summary(&self, reference: Option<f64>) -> Summary {
        let runs = self.tokens_per_s();
        let median = median(&runs);
        let min = runs.iter().copied().fold(f64::INFINITY, f64::min);
        let max = runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let peaks = self.samples.iter().map(|run| run.peak_rss_bytes);
        let above = self.samples.iter().filter_map(Sample::above_start_bytes);
        Summary {
            contender: self.name.clone(),
            median,
            min,
            max,
            spread: (max - min) / median,
            peak_rss_bytes: peaks.max().unwrap_or(0),
            above_start_bytes: above.max(),
            firebox_ratio: reference.map(|reference| reference / median),
            runs,
        }
    }
}

/// The middle value, or the mean of the two middle ones. NaN for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    fn sample(tokens_per_s: f64, peak_rss_bytes: u64, start_rss_bytes: Option<u64>) -> Sample {
        Sample {
            tokens_per_s,
            peak_rss_bytes,
            start_rss_bytes,
        }
    }

    #[test]
    fn the_ratio_is_firebox_over_the_peer() {
        let mut samples = Samples::default();
        for tokens_per_s in [30.0, 40.0, 50.0] {
            samples.add(Metric::Decode, REFERENCE, sample(tokens_per_s, 7, None));
            let peer = sample(2.0 * tokens_per_s, 9, Some(tokens_per_s as u64 / 10));
            samples.add(Metric::Decode, "peer", peer);
        }
        let rows = &samples.summaries()[&Metric::Decode];
        assert_eq!(rows[0].firebox_ratio, Some(1.0));
        assert_eq!(rows[1].firebox_ratio, Some(0.5));
        assert_eq!(
            (rows[1].median, rows[1].spread, rows[1].peak_rss_bytes),
            (80.0, 0.5, 9)
        );
        assert_eq!(
            (rows[0].above_start_bytes, rows[1].above_start_bytes),
            (None, Some(6))
        );
    }

    #[test]
    fn a_peer_alone_has_no_ratio() {
        let mut samples = Samples::default();
        samples.add(Metric::TrainLora, "peer", sample(5.0, 0, None));
        assert_eq!(
            samples.summaries()[&Metric::TrainLora][0].firebox_ratio,
            None
        );
    }
}
