//! A decoder on the loader's packed rows: what it learns, and that a stopped run goes on exactly.

#![expect(clippy::unwrap_used, reason = "a test without its folder should stop")]

use burn::{module::Module, tensor::Device};
use firebox_data::{
    Batch, Example, LoaderConfig, Order, PackedBatch, Prefetch, RankShard, RowLayout, Truncation,
    WeightedSource,
};
use firebox_model::{Llama, LlamaConfig};
use firebox_train::{
    CheckpointConfig, EvaluationConfig, Observer, Outcome, Place, RunFolder, Schedule, Setup,
    StepReport, TrainConfig, TrainHooks, TrainStep, TrainSummary, train_with,
};

const VOCAB: u32 = 40;

fn documents() -> Vec<Example> {
    let ids = |n: u32| (0..3 + n % 9).map(|at| (n * 7 + at * at) % VOCAB).collect();
    (0..60).map(|n| Example::from_ids(ids(n))).collect()
}

fn model() -> Llama {
    let device = Device::default().autodiff();
    LlamaConfig::new(VOCAB as usize, 16, 32, 2, 2).init(3, &device)
}

fn batches(prefetch: Prefetch) -> firebox_train::LoaderBatches {
    let config = LoaderConfig {
        batch_size: 2,
        max_len: 24,
        pad_id: 0,
        layout: RowLayout::Packed {
            window_examples: 20,
        },
        truncation: Truncation::KeepStart,
        order: Order::Shuffled { seed: 5 },
        shard: RankShard::default(),
        n_examples: None,
    };
    let sources = vec![
        WeightedSource::new("first", 2.0, documents()),
        WeightedSource::new("second", 1.0, documents()[..7].to_vec()),
    ];
    firebox_train::LoaderBatches::new(sources, config, prefetch).unwrap()
}

/// Ends the run after some steps, as Ctrl-C does.
struct StopsAfter(usize, usize);

impl Observer for StopsAfter {
    fn on_step(&mut self, report: &StepReport) {
        self.1 = report.record.step;
    }

    fn is_cancelled(&self) -> bool {
        self.1 >= self.0
    }
}

fn run(dir: &std::path::Path, prefetch: Prefetch, n_steps: usize) -> TrainSummary {
    let config = TrainConfig {
        evaluation: None::<EvaluationConfig>,
        checkpoints: CheckpointConfig {
            every_n_steps: 5,
            n_kept: 1,
        },
        ..TrainConfig::new(12, Schedule::constant(1e-3))
    };
    let folder = RunFolder::open(dir).unwrap();
    let hooks = TrainHooks {
        observer: &mut StopsAfter(n_steps, 0),
        evaluator: &mut (),
        place: Place::Resume(&folder),
        world: None,
        setup: Setup::default(),
    };
    let trained = train_with(model().train(), &mut batches(prefetch), &config, hooks);
    trained.unwrap().1
}

fn losses(summary: &TrainSummary) -> Vec<u64> {
    let records = summary.steps.iter();
    records.map(|record| record.loss.to_bits()).collect()
}

#[test]
fn a_packed_row_has_the_loss_of_its_documents_apart() {
    let model = model();
    let rows = [&documents()[..3], &documents()[3..5]];
    let packed = PackedBatch::assemble(rows, 30, 0);
    let packed = TrainStep::loss(&model, &packed).unwrap();
    let apart = Batch::pad(&documents()[..5], 0);
    let apart = TrainStep::loss(&model, &apart).unwrap();
    assert_eq!(packed.n_tokens, apart.n_tokens);
    assert_eq!(packed.n_input_tokens, 60);
    assert!((packed.value - apart.value).abs() < 1e-5);
    // Without the boundaries it is another loss: the test would see them missing.
    let joined = PackedBatch::assemble(rows, 30, 0).into_batch();
    let joined = TrainStep::loss(&model, &joined).unwrap();
    assert!((joined.value - apart.value).abs() > 1e-4);
}

#[test]
fn a_run_over_a_loader_goes_on_exactly() {
    let ahead = Prefetch {
        n_workers: 2,
        n_chunks: 2,
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let whole = run(dirs[0].path(), Prefetch::OFF, 100);
    assert_eq!((whole.outcome, whole.steps.len()), (Outcome::Finished, 12));
    for stop in [4, 7, 11] {
        let part = run(dirs[1].path(), ahead, stop);
        assert_eq!((part.outcome, part.steps.len()), (Outcome::Cancelled, stop));
    }
    let resumed = run(dirs[1].path(), ahead, 100);
    assert_eq!(losses(&resumed), losses(&whole));
}
