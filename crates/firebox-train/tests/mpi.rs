//! Ranks that are processes: the tests start themselves under `mpirun`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use burn::{module::Module, tensor::Device};
use firebox_data::{Batch, IGNORE_LABEL};
use firebox_model::{Llama, LlamaConfig};
use firebox_train::{
    Observer, Place, RankBatches, RunFolder, Schedule, Setup, StepReport, TrainConfig, TrainHooks,
    World, train_with,
};

const N_STEPS: usize = 6;
const OUT: &str = "FIREBOX_TEST_OUT";
const N_ACCUM_STEPS: &str = "FIREBOX_TEST_N_ACCUM_STEPS";
const DIES_AT: &str = "FIREBOX_TEST_DIES_AT";
const CHECKPOINTS_ACTIVATIONS: &str = "FIREBOX_TEST_CHECKPOINTS_ACTIVATIONS";
const RESUMES: &str = "FIREBOX_TEST_RESUMES";
const SHARES: &str = "FIREBOX_TEST_SHARES";

fn model(seed: u64) -> Llama {
    let config = LlamaConfig {
        max_seq_len: 32,
        ..LlamaConfig::new(60, 32, 64, 2, 2)
    };
    let model = config.init(seed, &Device::default()).train();
    model.with_activation_checkpointing(env::var_os(CHECKPOINTS_ACTIVATIONS).is_some())
}

/// Rows of unequal lengths, padded.
fn batches() -> Vec<Batch> {
    let row = |seed: usize| -> Vec<u32> {
        let len = 5 + seed * 7 % 11;
        (0..len)
            .map(|at| ((seed * 13 + at * 7) % 60) as u32)
            .collect()
    };
    let batch = |seed: usize| {
        let rows = [row(seed), row(seed + 50)];
        let longest = rows.iter().map(Vec::len).max().unwrap();
        let padded = |row: &Vec<u32>| [row.clone(), vec![0; longest - row.len()]].concat();
        let labels = |row: &Vec<u32>| {
            let labels = row.iter().map(|id| i64::from(*id));
            let padding = std::iter::repeat_n(IGNORE_LABEL, longest - row.len());
            labels.chain(padding).collect()
        };
        Batch {
            input_ids: rows.iter().map(padded).collect(),
            labels: rows.iter().map(labels).collect(),
            lengths: rows.iter().map(Vec::len).collect(),
        }
    };
    (0..10).map(batch).collect()
}

/// Aborts after a step, as a process that the system kills does.
struct Dies(Option<usize>);

impl Observer for Dies {
    fn on_step(&mut self, report: &StepReport) {
        if Some(report.record.step) == self.0 {
            std::process::abort();
        }
    }
}

/// One rank; started by the tests below.
#[test]
#[ignore = "a rank of the other tests"]
fn rank() {
    let Some(out) = env::var_os(OUT).map(PathBuf::from) else {
        return;
    };
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let world = World::mpi().unwrap();
    let mut config = TrainConfig::new(N_STEPS, Schedule::constant(1e-2));
    config.n_accum_steps = number(N_ACCUM_STEPS).unwrap_or(1);
    config.checkpoints.every_n_steps = 2;
    config.shard_optimizer_state = env::var_os(SHARES).is_some();
    let folder = match world.rank() {
        0 => RunFolder::open(&out.join("run")).unwrap(),
        _ => RunFolder::look_at(&out.join("run")),
    };
    let dies_at = number(DIES_AT).filter(|_| world.rank() == 1);
    let hooks = TrainHooks {
        observer: &mut Dies(dies_at),
        evaluator: &mut (),
        place: match env::var_os(RESUMES) {
            Some(_) => Place::Resume(&folder),
            None => Place::New(&folder),
        },
        world: Some(&world),
        setup: Setup::default(),
    };
    // Only the first rank's weights are right: the others take them over.
    let model = model(1 + world.rank() as u64);
    let mut batches = RankBatches::new(batches(), &world);
    let (model, summary) = train_with(model, &mut batches, &config, hooks).unwrap();
    let losses = summary.steps.iter().map(|step| step.loss.to_string());
    let norm = model
        .norm
        .gamma
        .val()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    let text = format!("{}\n{norm:?}\n", losses.collect::<Vec<_>>().join(" "));
    fs::write(out.join(format!("rank-{}", world.rank())), text).unwrap();
    world.finish();
}

fn mpirun(n_ranks: usize, out: &Path, settings: &[(&str, &str)]) -> Output {
    Command::new("mpirun")
        .args(["-n", &n_ranks.to_string(), "--oversubscribe"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "rank", "--ignored", "--nocapture"])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env(OUT, out)
        .envs(settings.iter().copied())
        .output()
        .expect("start `mpirun` (hint: apt-get install openmpi-bin)")
}

fn trained(n_ranks: usize, settings: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let output = mpirun(n_ranks, dir.path(), settings);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    read_ranks(dir.path(), n_ranks)
}

fn read_ranks(dir: &Path, n_ranks: usize) -> Vec<String> {
    let ranks = 0..n_ranks;
    ranks
        .map(|rank| fs::read_to_string(dir.join(format!("rank-{rank}"))).unwrap())
        .collect()
}

#[test]
fn two_ranks_have_the_losses_of_one_with_the_same_global_batch() {
    // With activation checkpointing, backward passes run within the loss, too.
    for settings in [&[][..], &[(CHECKPOINTS_ACTIVATIONS, "1")], &[(SHARES, "1")]] {
        let one = trained(1, &[settings, &[(N_ACCUM_STEPS, "2")]].concat());
        let two = trained(2, settings);
        assert_eq!(two, [one[0].as_str(), one[0].as_str()]);
    }
}

#[test]
fn a_rank_that_dies_ends_the_job_which_is_resumed_exactly() {
    let unbroken = trained(2, &[]);
    for settings in [&[][..], &[(SHARES, "1")]] {
        dies_and_is_resumed(&unbroken, settings);
    }
}

fn dies_and_is_resumed(unbroken: &[String], settings: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    let output = mpirun(2, dir.path(), &[settings, &[(DIES_AT, "5")]].concat());
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("rank 1") && told.contains("signal"), "{told}");
    let output = mpirun(2, dir.path(), &[settings, &[(RESUMES, "1")]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let resumed = read_ranks(dir.path(), 2);
    assert_eq!(resumed[0], unbroken[0]);
    // The second rank knows the losses since it was started again; its weights are the same.
    assert_eq!(resumed[1].lines().last(), unbroken[1].lines().last());
}
