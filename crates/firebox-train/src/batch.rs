//! Where batches come from.

use serde_json::Value;

use crate::error::BatchError;

/// Batches by number.
///
/// A source gives the same batch for the same index in every run: that is what makes runs
/// repeatable, and lets a stopped one go on.
pub trait BatchSource {
    /// What the model's loss takes.
    type Batch;

    /// Batch `index`, from 0. A run of `n_steps` asks for `n_steps * n_accum_steps` of them, in
    /// order; a finite source starts again from its first.
    ///
    /// # Errors
    ///
    /// When the data cannot be read, or there is none.
    fn batch(&mut self, index: usize) -> Result<Self::Batch, BatchError>;

    /// What a checkpoint keeps of a source that does not go by the batch's number alone; null for
    /// those that do.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Goes back to where [`BatchSource::state`] was taken: the next batches are the same ones.
    ///
    /// # Errors
    ///
    /// When the state is another source's.
    fn restore(&mut self, state: &Value) -> Result<(), BatchError> {
        match state {
            Value::Null => Ok(()),
            found => Err(format!("expected a source without a state, found {found}").into()),
        }
    }
}

/// The batches in order, over and over.
impl<B: Clone> BatchSource for Vec<B> {
    type Batch = B;

    fn batch(&mut self, index: usize) -> Result<B, BatchError> {
        self.as_slice().batch(index)
    }
}

/// The batches in order, over and over.
impl<B: Clone> BatchSource for &[B] {
    type Batch = B;

    fn batch(&mut self, index: usize) -> Result<B, BatchError> {
        match self.len() {
            0 => Err("expected at least one batch, found none \
                      (hint: is the data file empty, or shorter than one batch?)"
                .into()),
            len => Ok(self[index % len].clone()),
        }
    }
}
