//! What each stage took, gathered for the table and the page.

use std::time::Instant;

use firebox_tensor::burn::tensor::Device;
use firebox_tensor::memory;

use crate::loop_report::{Curve, Stage, StageKind};

use super::run_folder::RunFolder;

/// One round in progress: where it computes and writes, the stages and curves so far.
pub(super) struct Run<'a> {
    pub(super) device: &'a Device,
    pub(super) folder: &'a RunFolder,
    pub(super) stages: Vec<Stage>,
    pub(super) curves: Vec<Curve>,
}

impl<'a> Run<'a> {
    pub(super) fn new(device: &'a Device, folder: &'a RunFolder) -> Self {
        Self {
            device,
            folder,
            stages: Vec::new(),
            curves: Vec::new(),
        }
    }

    /// Runs `work` as a stage: its time and peak memory are noted, the rest it says itself.
    pub(super) fn stage<T>(
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
        self.stages.push(stage);
        Ok(result)
    }
}
