//! All detectors over one run.

use serde::{Deserialize, Serialize};

use super::{
    detectors::{Detector, all},
    failure::Failure,
};
use crate::metrics::Metric;

/// A failure that was recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub failure: Failure,
    /// The first step that showed a sign of it, from 1; 0 before the first step.
    pub first_sign: usize,
    /// The step at which it was certain enough to be said.
    pub step: usize,
    /// The figure that made the detector say so.
    pub evidence: String,
}

/// Watches a run through its metrics. Each failure is said once.
#[derive(Debug)]
pub struct Watch {
    detectors: Vec<Box<dyn Detector>>,
    found: Vec<Finding>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            detectors: all(),
            found: Vec::new(),
        }
    }
}

impl Watch {
    /// Takes the next line of the run, and gives what it shows for the first time.
    pub fn see(&mut self, metric: &Metric) -> Vec<Finding> {
        let mut new = Vec::new();
        for detector in &mut self.detectors {
            let Some(sign) = detector.see(metric) else {
                continue;
            };
            if self.found.iter().any(|found| found.failure == sign.failure) {
                continue;
            }
            let finding = Finding {
                failure: sign.failure,
                first_sign: sign.first_sign,
                step: metric.step(),
                evidence: sign.evidence,
            };
            self.found.push(finding.clone());
            new.push(finding);
        }
        new
    }

    /// Everything so far, in the order in which it was found.
    pub fn findings(&self) -> &[Finding] {
        &self.found
    }
}
