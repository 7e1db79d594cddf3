//! The next-token loss of a decoder as a [`TrainStep`].

use firebox_data::Batch;
use firebox_model::{IGNORE, Llama, ModelError};

use crate::{
    error::LossError,
    signals::BatchSignals,
    step::{StepLoss, TrainStep},
};

impl TrainStep<Batch> for Llama {
    fn loss(&self, batch: &Batch) -> Result<StepLoss, LossError> {
        let n_input_tokens = batch.input_ids.iter().map(Vec::len).sum();
        let loss = match Llama::loss(self, &batch.input_ids, &batch.labels) {
            Ok(loss) => loss,
            // A batch without labels has no weight; a step of nothing else is the trainer's error.
            Err(ModelError::NoLabels) => {
                return Ok(StepLoss::nothing(n_input_tokens, &self.device()));
            }
            Err(error) => return Err(error.into()),
        };
        let step = StepLoss::new(loss.mean, loss.n_tokens, loss.surrogate);
        Ok(step.with_input_tokens(n_input_tokens))
    }

    fn set_batch_index(&self, index: u64) {
        self.set_dropout_step(index);
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
