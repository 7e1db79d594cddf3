use std::{collections::BTreeMap, thread};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor, TensorData, activation::relu},
};

use super::*;
use crate::{
    AdafactorConfig, AdamW8bitConfig, AdamWConfig, EmaConfig, GradScalerConfig, LossError,
    OptimizerConfig, Place, RunFolder, Schedule, SgdConfig, StepLoss, TrainConfig, TrainError,
    TrainHooks, TrainStep, TrainSummary, module_params::for_each_value, run_error::RunError,
    train_with,
};

#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    out: Linear,
    /// No loss reaches it.
    unused: Linear,
}

/// Inputs `[rows, 3]` and targets `[rows, 1]`.
type Pairs = (Vec<f32>, Vec<f32>);

impl TrainStep<Pairs> for Net {
    fn loss(&self, (x, y): &Pairs) -> Result<StepLoss, LossError> {
        let (rows, device) = (y.len(), self.hidden.weight.val().device());
        let tensor = |values: &Vec<f32>, width| {
            Tensor::<2>::from_data(TensorData::new(values.clone(), [rows, width]), &device)
        };
        let errors = self.out.forward(relu(self.hidden.forward(tensor(x, 3)))) - tensor(y, 1);
        Ok(StepLoss::from_mean(errors.powi_scalar(2).mean(), rows))
    }
}

/// Weights that depend on the seed alone.
fn net(seed: u64) -> Net {
    let device = Device::default().autodiff();
    let net = Net {
        hidden: LinearConfig::new(3, 5).init(&device),
        out: LinearConfig::new(5, 1).init(&device),
        unused: LinearConfig::new(2, 2).init(&device),
    };
    let mut next = seed;
    crate::module_params::replace_values(net, |_, shape| {
        let values = (0..shape.iter().product()).map(|_| {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (next >> 40) as f32 / (1 << 24) as f32 - 0.5
        });
        Ok::<_, LossError>(values.collect())
    })
    .unwrap()
}

/// Of unequal lengths.
fn batches() -> Vec<Pairs> {
    let rows = [3, 1, 4, 2, 2, 5, 1, 3];
    let value = |at: usize| ((at * 37 % 19) as f32 - 9.0) / 9.0;
    let batch = |(at, rows): (usize, &usize)| {
        let x = (0..rows * 3).map(|i| value(at * 31 + i)).collect();
        (x, (0..*rows).map(|i| value(at * 17 + i * 5)).collect())
    };
    rows.iter().enumerate().map(batch).collect()
}

fn config(n_steps: usize, n_accum_steps: usize) -> TrainConfig {
    TrainConfig {
        n_accum_steps,
        optimizer: OptimizerConfig::Sgd(SgdConfig::default()),
        ..TrainConfig::new(n_steps, Schedule::constant(0.1))
    }
}

fn values(net: &Net) -> BTreeMap<String, Vec<u32>> {
    let mut found = BTreeMap::new();
    for_each_value(net, |path, values| {
        found.insert(path, values.iter().map(|value| value.to_bits()).collect());
        Ok::<_, LossError>(())
    })
    .unwrap();
    found
}

fn losses(summary: &TrainSummary) -> Vec<u64> {
    let losses = summary.steps.iter().map(|step| step.loss.to_bits());
    losses.collect()
}

fn hooks<'a>(place: Place<'a>, world: Option<&'a World>) -> TrainHooks<'a, Net> {
    TrainHooks {
        observer: Box::leak(Box::new(())),
        evaluator: Box::leak(Box::new(())),
        place,
        world,
        setup: crate::Setup::default(),
    }
}

type Trained = Result<(Net, TrainSummary), TrainError>;

fn alone(config: &TrainConfig) -> (Net, TrainSummary) {
    train_with(net(7), &mut batches(), config, hooks(Place::Memory, None)).unwrap()
}

/// What every rank of a group ends with. Only rank 0 begins with the right weights.
fn together(config: &TrainConfig, n_ranks: usize, place: Place<'_>) -> Vec<Trained> {
    let train = |communicator: ThreadCommunicator| {
        let world = World::start(|| Ok(communicator)).unwrap();
        let mut batches = RankBatches::new(batches(), &world);
        let seed = 7 + world.rank() as u64;
        let result = train_with(net(seed), &mut batches, config, hooks(place, Some(&world)));
        world.finish();
        result
    };
    thread::scope(|scope| {
        let ranks = thread_group(n_ranks).into_iter();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || train(rank))).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.collect()
    })
}

/// A net whose gradients pass through half precision.
#[derive(Module, Debug)]
struct Half {
    net: Net,
}

impl TrainStep<Pairs> for Half {
    fn loss(&self, pairs: &Pairs) -> Result<StepLoss, LossError> {
        let loss = self.net.loss(pairs)?;
        Ok(StepLoss {
            backward: loss.backward.cast(DType::F16).cast(DType::F32),
            ..loss
        })
    }
}

#[test]
fn accumulated_batches_of_many_tokens_overflow_no_sooner_than_one() {
    // 1024 times a thousand tokens is more than f16's 65504.
    let scaling = GradScalerConfig {
        init_scale: 1024.0,
        ..GradScalerConfig::default()
    };
    let config = TrainConfig {
        loss_scaling: Some(scaling),
        ..config(1, 3)
    };
    let of = |rows: usize| (vec![0.5; 3 * rows], vec![1.0; rows]);
    let mut batches = vec![of(1), of(1000), of(1500)];
    let hooks = TrainHooks {
        observer: &mut (),
        evaluator: &mut (),
        place: Place::Memory,
        world: None,
        setup: crate::Setup::default(),
    };
    let (_, summary) = train_with(Half { net: net(7) }, &mut batches, &config, hooks).unwrap();
    assert!(!summary.steps[0].skipped);
}

#[test]
fn two_ranks_with_a_scaled_loss_are_one_process_bit_for_bit() {
    let scaled = |n_accum_steps| TrainConfig {
        loss_scaling: Some(GradScalerConfig::default()),
        ..config(6, n_accum_steps)
    };
    let (expected, summary) = alone(&scaled(2));
    let (plain, _) = alone(&config(6, 2));
    assert_eq!(values(&expected), values(&plain));
    for result in together(&scaled(1), 2, Place::Memory) {
        let (net, found) = result.unwrap();
        assert_eq!(losses(&found), losses(&summary));
        assert_eq!(values(&net), values(&expected));
    }
}

#[test]
fn two_ranks_are_one_process_with_twice_the_batches_bit_for_bit() {
    for (n_accum_steps, n_ranks) in [(1, 2), (2, 2)] {
        let (expected, summary) = alone(&config(6, n_accum_steps * n_ranks));
        // With more than one batch a rank, the same numbers are added in another order.
        let is_same_order = n_accum_steps == 1;
        for result in together(&config(6, n_accum_steps), n_ranks, Place::Memory) {
            let (net, found) = result.unwrap();
            if is_same_order {
                assert_eq!(losses(&found), losses(&summary));
                assert_eq!(values(&net), values(&expected));
            }
            for (found, expected) in found.steps.iter().zip(&summary.steps) {
                assert!((found.loss - expected.loss).abs() < 1e-6);
            }
        }
    }
}

fn sharded(config: &TrainConfig) -> TrainConfig {
    TrainConfig {
        shard_optimizer_state: true,
        ..config.clone()
    }
}

#[test]
fn states_in_shares_change_no_bit() {
    for optimizer in [
        OptimizerConfig::AdamW(AdamWConfig::default()),
        OptimizerConfig::AdamW8bit(AdamW8bitConfig::default()),
        OptimizerConfig::Adafactor(AdafactorConfig::default()),
    ] {
        let config = TrainConfig {
            optimizer,
            ema: Some(EmaConfig { decay: 0.9 }),
            ..config(6, 1)
        };
        for n_ranks in [2, 3] {
            let whole = together(&config, n_ranks, Place::Memory);
            let (expected, summary) = whole.into_iter().next().unwrap().unwrap();
            for result in together(&sharded(&config), n_ranks, Place::Memory) {
                let (net, found) = result.unwrap();
                assert_eq!(losses(&found), losses(&summary));
                assert_eq!(values(&net), values(&expected));
            }
        }
    }
}

#[test]
fn checkpoints_of_shares_are_whole_and_go_on_either_way() {
    let mut config = TrainConfig {
        optimizer: OptimizerConfig::AdamW8bit(AdamW8bitConfig::default()),
        ..config(6, 1)
    };
    config.checkpoints.every_n_steps = 2;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let configs = [config.clone(), sharded(&config)];
    let mut files = Vec::new();
    for (dir, config) in dirs.iter().zip(&configs) {
        let folder = RunFolder::open(dir.path()).unwrap();
        together(config, 2, Place::New(&folder));
        let path = folder.checkpoint_path(6).join("optimizer.safetensors");
        files.push(std::fs::read(path).unwrap());
        std::fs::remove_dir_all(folder.checkpoint_path(6)).unwrap();
    }
    assert_eq!(files[0], files[1]);
    let whole = together(&config, 2, Place::Memory);
    let expected = values(&whole[0].as_ref().unwrap().0);
    // The one began whole and goes on in shares, the other the other way round.
    for (dir, config) in dirs.iter().zip(configs.iter().rev()) {
        let folder = RunFolder::open(dir.path()).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [4]);
        for result in together(config, 2, Place::Resume(&folder)) {
            assert_eq!(values(&result.unwrap().0), expected);
        }
    }
}

#[test]
fn shares_are_even_and_of_every_parameter_once() {
    let params = crate::module_params::trainable_params(&net(7));
    let share = |communicator: ThreadCommunicator| {
        let world = World::start(|| Ok(communicator)).unwrap();
        let shares = Shares::new(&world, &params, false).unwrap();
        let own = params.iter().filter(|param| shares.is_own(param.id));
        let paths: Vec<&str> = own.map(|param| param.path.as_str()).collect();
        paths
    };
    let of_ranks: Vec<Vec<&str>> = thread::scope(|scope| {
        let ranks = thread_group(2).into_iter();
        let threads: Vec<_> = ranks.map(|rank| scope.spawn(move || share(rank))).collect();
        let shares = threads.into_iter().map(|thread| thread.join().unwrap());
        shares.collect()
    });
    // 15, 5, 5, 4, 2 and 1 elements: 16 on each.
    assert_eq!(of_ranks[0], ["hidden.weight", "out.bias"]);
    assert_eq!(of_ranks[0].len() + of_ranks[1].len(), params.len());
    assert!(of_ranks[0].iter().all(|path| !of_ranks[1].contains(path)));
}

#[test]
fn all_ranks_end_with_the_same_weights() {
    let results = together(&config(5, 1), 3, Place::Memory);
    let ends: Vec<_> = results
        .into_iter()
        .map(|result| values(&result.unwrap().0))
        .collect();
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0], ends[2]);
}

#[test]
fn a_run_of_two_ranks_is_resumed_exactly_and_by_two_only() {
    let dir = tempfile::tempdir().unwrap();
    let whole = together(&config(6, 1), 2, Place::Memory);
    let expected = values(&whole[0].as_ref().unwrap().0);
    let mut config = config(6, 1);
    config.checkpoints.every_n_steps = 2;
    {
        let folder = RunFolder::open(dir.path()).unwrap();
        together(&config, 2, Place::New(&folder));
        // As if it had been killed after the fourth step.
        std::fs::remove_dir_all(folder.checkpoint_path(6)).unwrap();
        assert_eq!(folder.checkpoints().unwrap(), [4]);
    }
    let folder = RunFolder::open(dir.path()).unwrap();
    let refused = together(&config, 3, Place::Resume(&folder));
    let error = refused.into_iter().next().unwrap().unwrap_err();
    assert!(matches!(
        error,
        TrainError::Run(RunError::ConfigDiffers { .. })
    ));
    for result in together(&config, 2, Place::Resume(&folder)) {
        assert_eq!(values(&result.unwrap().0), expected);
    }
}

#[test]
fn a_rank_that_is_gone_is_an_error_of_the_others() {
    let mut group = thread_group(2);
    drop(group.pop());
    let communicator = group.pop().unwrap();
    let world = World::start(|| Ok(communicator)).unwrap();
    let config = config(3, 1);
    let mut batches = batches();
    let result = train_with(
        net(7),
        &mut batches,
        &config,
        hooks(Place::Memory, Some(&world)),
    );
    let error = result.unwrap_err().to_string();
    assert!(error.contains("expected all 2 ranks"), "{error}");
}

#[test]
fn sums_are_asked_for_while_the_backward_pass_runs() {
    let communicator = thread_group(1).pop().unwrap();
    let world = World::start(|| Ok(communicator)).unwrap();
    let net = net(7).hidden;
    let params = crate::module_params::trainable_params(&net);
    let reducer = Reducer::new(&world, &params, Device::default());
    let buckets = reducer.begin(crate::ParamGradients::default());
    let x = Tensor::<2>::ones([2, 3], &Device::default().autodiff());
    let loss = buckets.hook(net.clone()).forward(x).sum();
    assert!(buckets.open(1.0));
    assert_eq!(buckets.n_sent(), 0);
    let _gradients = loss.backward();
    assert_eq!(buckets.n_sent(), 1);
    let mut sums = reducer.finish(&buckets, &|| false).unwrap();
    let bias = net.bias.as_ref().unwrap().id;
    let bias = sums.remove(bias).unwrap().into_data();
    assert_eq!(bias.try_into_vec::<f32>().unwrap(), [2.0; 5]);
    world.finish();
}
