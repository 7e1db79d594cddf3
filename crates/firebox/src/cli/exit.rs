//! From an error to a message and an exit code.

use std::io::ErrorKind;
use std::process::ExitCode;

use firebox_checkpoint::CheckpointError;
use firebox_data::filter::FilterError;
use firebox_data::{
    CleanError, DataError, DedupError, PackingError, RecipeError, ShardError,
    SourceError as FileError, TokenizerTrainingError, WriteError,
};
use firebox_engine::{EmbedError, EngineError};
use firebox_hub::HubError;
use firebox_hub::SourceError;
use firebox_model::ModelError;
use firebox_quant::QuantError;
use firebox_tensor::DeviceError;
use firebox_tensor::host::UnknownSimdLevel;
use firebox_train::{RunError, TrainError};

/// The request was at fault, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UserError(pub(crate) String);

/// Prints the error with its causes; 2 for the user's input, 1 for the environment.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    if error.chain().any(is_user_error) {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

/// Whether this link of the chain says that the input was at fault.
fn is_user_error(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<CheckpointError>() {
        return is_bad_checkpoint(error);
    }
    if let Some(error) = error.downcast_ref::<HubError>() {
        return error.is_user_error();
    }
    if let Some(error) = error.downcast_ref::<DataError>() {
        return !matches!(
            error,
            DataError::Read { .. } | DataError::RenderThread { .. }
        );
    }
    if let Some(error) = error.downcast_ref::<CleanError>() {
        return is_bad_corpus(error);
    }
    if let Some(error) = error.downcast_ref::<FileError>() {
        return is_bad_file(error);
    }
    if let Some(error) = error.downcast_ref::<DeviceError>() {
        return !matches!(
            error,
            DeviceError::CudaDriver { .. } | DeviceError::NoCudaDriver { .. }
        );
    }
    match error.downcast_ref::<ModelError>() {
        Some(ModelError::Checkpoint(error)) => return is_bad_checkpoint(error),
        Some(_) => return true,
        None => {}
    }
    match error.downcast_ref::<EmbedError>() {
        Some(EmbedError::Checkpoint(error) | EmbedError::Model(ModelError::Checkpoint(error))) => {
            return is_bad_checkpoint(error);
        }
        Some(_) => return true,
        None => {}
    }
    match error.downcast_ref::<QuantError>() {
        Some(QuantError::Checkpoint(error)) => return is_bad_checkpoint(error),
        Some(_) => return true,
        None => {}
    }
    if let Some(error) = error.downcast_ref::<RunError>() {
        return is_bad_folder(error);
    }
    match error.downcast_ref::<TrainError>() {
        Some(TrainError::Run(error)) => return is_bad_folder(error),
        Some(_) => return true,
        None => {}
    }
    error.is::<UserError>()
        || error.is::<RecipeError>()
        || error.is::<FilterError>()
        || error.is::<DedupError>()
        || error.is::<PackingError>()
        || error.is::<ShardError>()
        || error.is::<TokenizerTrainingError>()
        || error.is::<SourceError>()
        || error.is::<firebox_train::ConfigError>()
        || error.is::<firebox_serve::ConfigError>()
        || error.is::<firebox_serve::KeyError>()
        || error.is::<firebox_serve::TlsError>()
        || error.is::<EngineError>()
        || error.is::<UnknownSimdLevel>()
}

/// A checkpoint that is not there, or not right, is the user's; a disk that fails is not.
fn is_bad_checkpoint(error: &CheckpointError) -> bool {
    match error {
        CheckpointError::Write { .. } => false,
        CheckpointError::Read { source, .. } => {
            matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            )
        }
        _ => true,
    }
}

/// A folder that fails, or that another process holds, is the machine's.
fn is_bad_folder(error: &RunError) -> bool {
    match error {
        RunError::Tensors(error) => is_bad_checkpoint(error),
        error => !matches!(
            error,
            RunError::Read { .. } | RunError::Write { .. } | RunError::Busy { .. }
        ),
    }
}

/// What is wrong with recipe or data is the user's; a disk that fails, or Ctrl-C, is not.
fn is_bad_corpus(error: &CleanError) -> bool {
    match error {
        CleanError::Source(error) => is_bad_file(error),
        CleanError::Write(error) => !matches!(error, WriteError::Write { .. }),
        CleanError::WorkFolder { .. }
        | CleanError::WorkFile { .. }
        | CleanError::Stopped { .. } => false,
        _ => true,
    }
}

fn is_bad_file(error: &FileError) -> bool {
    !matches!(error, FileError::Read { .. })
}
