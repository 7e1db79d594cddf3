//! The training loop.

use burn::module::Module;

use crate::{
    batch::BatchSource,
    config::TrainConfig,
    distributed::World,
    error::TrainError,
    evaluation::Evaluator,
    observer::{Observer, Outcome, TrainSummary},
    run_folder::RunFolder,
    session::Session,
    signals::Setup,
    step::TrainStep,
};

/// What a run tells, asks and keeps besides the model.
pub struct TrainHooks<'a, M> {
    /// Sees every step, and may stop the run.
    pub observer: &'a mut dyn Observer,
    /// Scores the model when the config says so.
    pub evaluator: &'a mut dyn Evaluator<M>,
    /// Where metrics and checkpoints go.
    pub place: Place<'a>,
    /// The ranks that train together; `None` for a run of its own. Every rank calls [`train_with`] with
    /// the same config and with batches of its own; rank 0 evaluates and writes.
    pub world: Option<&'a World>,
    /// What is known of the run, for the detectors of [`crate::diagnose`].
    pub setup: Setup,
}

/// Where a run keeps metrics and checkpoints.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// Nowhere: what is killed is lost.
    Memory,
    /// In a folder that has no checkpoint yet.
    New(&'a RunFolder),
    /// In a folder of a run that stopped: it goes on after its newest checkpoint, or begins where
    /// there is none. On the CPU its losses are those of the unbroken run, bit for bit.
    Resume(&'a RunFolder),
}

impl<'a> Place<'a> {
    pub(crate) fn folder(&self) -> Option<&'a RunFolder> {
        match self {
            Self::Memory => None,
            Self::New(folder) | Self::Resume(folder) => Some(folder),
        }
    }
}

/// Trains `model` on `batches`, and gives it back with an account of the run.
///
/// [`train_with`] without a folder and without evaluations.
///
/// # Errors
///
/// As [`train_with`].
pub fn train<M, S>(
    model: M,
    batches: &mut S,
    config: &TrainConfig,
    observer: &mut dyn Observer,
) -> Result<(M, TrainSummary), TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    let hooks = TrainHooks {
        observer,
        evaluator: &mut (),
        place: Place::Memory,
        world: None,
        setup: Setup::default(),
    };
    train_with(model, batches, config, hooks)
}

/// Trains `model` on `batches`, and gives it back with an account of the run.
///
/// Every parameter that requires gradients is trained; the rest are left alone. A cancelled run
/// is no error: the model is returned as the last finished step left it, and where the run has a
/// folder, a checkpoint is written first.
///
/// # Errors
///
/// When the config is invalid, nothing is trainable, data is missing, a loss or gradient is not
/// finite (the update that would have spread it is not made), or the folder cannot be written or
/// belongs to another run.
pub fn train_with<'a, M, S>(
    model: M,
    batches: &'a mut S,
    config: &'a TrainConfig,
    hooks: TrainHooks<'a, M>,
) -> Result<(M, TrainSummary), TrainError>
where
    S: BatchSource,
    M: Module + TrainStep<S::Batch>,
{
    config.validate()?;
    let (mut session, mut model) = Session::start(model, batches, config, hooks)?;
    while session.n_done_steps() < config.n_steps {
        let Some(batch) = session.gradients(&model)? else {
            session.save(&model)?;
            return Ok(session.finish(model, Outcome::Cancelled));
        };
        model = session.update(model, batch)?;
        let goes_on = session.look(&model)?;
        if !goes_on {
            return Ok(session.finish(model, Outcome::StoppedEarly));
        }
    }
    Ok(session.finish(model, Outcome::Finished))
}
