//! The next-token loss of a decoder as a [`TrainStep`].

use firebox_data::{Batch, PackedBatch};
use firebox_model::{IGNORE, Llama, Loss, ModelError};

use crate::{
    error::LossError,
    signals::BatchSignals,
    step::{StepLoss, TrainStep},
};

impl TrainStep<Batch> for Llama {
    fn loss(&self, batch: &Batch) -> Result<StepLoss, LossError> {
        let loss = Llama::loss(self, &batch.input_ids, &batch.labels);
        step_loss(self, loss, &batch.input_ids)
    }

    fn goes_backward_in_loss(&self) -> bool {
        self.has_activation_checkpointing()
    }

    fn set_batch_index(&self, index: u64) {
        self.set_dropout_step(index);
    }

    fn n_fixed_values(&self) -> usize {
        self.n_fixed_weights()
    }

    fn describe(&self, batch: &Batch) -> Option<BatchSignals> {
        let Batch {
            input_ids,
            labels,
            lengths,
        } = batch;
        Some(BatchSignals::count(input_ids, labels, lengths, IGNORE))
    }
}

/// Documents side by side: each sees itself only, and counts its positions from 0.
impl TrainStep<PackedBatch> for Llama {
    fn loss(&self, batch: &PackedBatch) -> Result<StepLoss, LossError> {
        let loss = self.loss_packed(&batch.input_ids, &batch.labels, &batch.cu_seqlens());
        step_loss(self, loss, &batch.input_ids)
    }

    fn goes_backward_in_loss(&self) -> bool {
        self.has_activation_checkpointing()
    }

    fn set_batch_index(&self, index: u64) {
        self.set_dropout_step(index);
    }

    fn n_fixed_values(&self) -> usize {
        self.n_fixed_weights()
    }

    fn describe(&self, batch: &PackedBatch) -> Option<BatchSignals> {
        let rows = batch.document_lengths.iter();
        let lengths: Vec<usize> = rows.map(|row| row.iter().sum()).collect();
        let (ids, labels) = (&batch.input_ids, &batch.labels);
        Some(BatchSignals::count(ids, labels, &lengths, IGNORE))
    }
}

fn step_loss(
    model: &Llama,
    loss: Result<Loss, ModelError>,
    input_ids: &[Vec<u32>],
) -> Result<StepLoss, LossError> {
    let n_input_tokens = input_ids.iter().map(Vec::len).sum();
    match loss {
        Ok(loss) => {
            let step = StepLoss::new(loss.mean, loss.n_tokens, loss.surrogate);
            Ok(step.with_input_tokens(n_input_tokens))
        }
        // A batch without labels has no weight; a step of nothing else is the trainer's error.
        Err(ModelError::NoLabels) => Ok(StepLoss::nothing(n_input_tokens, &model.device())),
        Err(error) => Err(error.into()),
    }
}
