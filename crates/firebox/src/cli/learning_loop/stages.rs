//! What each stage took, gathered for the table and the page.

use std::time::Instant;

use firebox_tensor::memory;

use crate::loop_report::{Curve, Stage, StageKind};

/// The stages and curves so far.
#[derive(Default)]
pub(super) struct Stages {
    pub(super) rows: Vec<Stage>,
    pub(super) curves: Vec<Curve>,
}

impl Stages {
    /// Runs `work` as a stage: its time and peak memory are noted, the rest it says itself.
    pub(super) fn run<T>(
        &mut self,
        kind: StageKind,
        name: &str,
        work: impl FnOnce(&mut Stage) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        eprintln!("── {name}");
        // Where the peak cannot be reset, it stays the process's.
        memory::reset_peak();
        let start = Instant::now();
        let mut stage = Stage::new(kind, name);
        let result = work(&mut stage)?;
        stage.seconds = start.elapsed().as_secs_f64();
        stage.peak_rss_bytes = memory::process().peak_rss_bytes;
        self.rows.push(stage);
        Ok(result)
    }
}
