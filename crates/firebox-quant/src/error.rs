//! What can go wrong while quantizing.

use firebox_checkpoint::CheckpointError;
use firebox_tensor::packed::{PackError, PackedFormat};

/// A model could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The model could not be read, or the result not written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A weight cannot be packed.
    #[error("quantize tensor `{name}`")]
    Pack {
        /// The tensor.
        name: String,
        /// Why.
        #[source]
        source: PackError,
    },
    /// The model does not run.
    #[cfg(feature = "calibrate")]
    #[error(transparent)]
    Model(#[from] firebox_model::ModelError),
    /// There is too little text to calibrate with.
    #[error(
        "calibrate: expected texts of at least {expected} tokens together, found {found} (hint: give more text of the kind that the model will read)"
    )]
    CalibrationText {
        /// The fewest tokens.
        expected: usize,
        /// Those of all texts.
        found: usize,
    },
    /// What an interrupted run left cannot be used.
    #[error(
        "go on with the run in `{path}`: expected what an interrupted run left, found: {what} (hint: delete the folder to begin anew)"
    )]
    Journal {
        /// The folder.
        path: std::path::PathBuf,
        /// What went wrong.
        what: String,
    },
    /// What a weight is multiplied with cannot be used.
    #[error(
        "calibrate weight `{name}`: expected inputs that vary, as finite numbers; found a Hessian that is not positive definite with damping {damping} (hint: more calibration text, or more damping)"
    )]
    Hessian {
        /// The weight.
        name: String,
        /// What was added to the diagonal, as a part of its mean.
        damping: f64,
    },
    /// There is nothing to choose from.
    #[error(
        "choose formats within a budget: expected one to choose from at least, found none (hint: those of GGUF, such as `q4_0` and `q8_0`)"
    )]
    NoFormats,
    /// The smallest formats take more than there is room for.
    #[error(
        "choose formats within {bytes} bytes: expected room for {least} at least (hint: a larger budget, smaller formats, or fewer tensors kept by rules)"
    )]
    Budget {
        /// The budget.
        bytes: u64,
        /// What all tensors take in the smallest formats.
        least: u64,
    },
    /// The format has no minimum that could be chosen freely.
    #[error(
        "round half-quadratically (HQQ): expected a format with a minimum of 16 bits, `q4_1` or `q5_1`; found {format} (hint: another format, or another method)"
    )]
    NoMinimum {
        /// The format.
        format: PackedFormat,
    },
    /// Blocks of the format reach over the end of a row.
    #[error(
        "quantize tensor `{name}`: calibrated {format} needs rows of whole blocks, found rows of {n_cols} (hint: another format, or no calibration)"
    )]
    RowNotWholeBlocks {
        /// The tensor.
        name: String,
        /// The format.
        format: PackedFormat,
        /// Its columns.
        n_cols: usize,
    },
    /// No tensor has a name that is to be quantized.
    #[error(
        "quantize the model: expected a two-dimensional tensor named `{pattern}` or by a rule, found none (hint: is it a Llama-family model?)"
    )]
    NothingToQuantize {
        /// The names that were looked for.
        pattern: String,
    },
    /// A rule names nothing.
    #[error(
        "tensor rule `{rule}`: expected the whole name of a two-dimensional tensor, with `*` for any characters; found no such tensor (hint: `model.embed_tokens.weight`, `*.o_proj.weight`)"
    )]
    UnusedRule {
        /// The rule.
        rule: String,
    },
    /// The weight is packed already.
    #[error(
        "quantize tensor `{name}`: expected floating-point weights, found a tensor packed as {found} (hint: start from the unquantized model)"
    )]
    AlreadyPacked {
        /// The tensor.
        name: String,
        /// How it is stored.
        found: String,
    },
}

impl QuantError {
    /// Says which weight could not be packed.
    pub(crate) fn of_weight(name: &str) -> impl FnOnce(PackError) -> Self + use<'_> {
        move |source| Self::Pack {
            name: name.to_owned(),
            source,
        }
    }
}
