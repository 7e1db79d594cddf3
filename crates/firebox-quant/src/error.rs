//! What can go wrong while quantizing.

use firebox_checkpoint::CheckpointError;
use firebox_tensor::packed::PackError;

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
    /// No tensor has a name that is to be quantized.
    #[error(
        "quantize the model: expected a two-dimensional tensor whose name ends in `{suffix}`, found none (hint: is it a Llama-family model?)"
    )]
    NothingToQuantize {
        /// The end of the names that were looked for.
        suffix: String,
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
