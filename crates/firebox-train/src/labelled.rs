//! Documents with targets, and the training of a new head on them.

use firebox_data::Order;
use firebox_model::{HeadTargets, IGNORE, SequenceClassifier};

use crate::{
    batch::{BatchSource, Groups},
    error::{BatchError, LossError},
    signals::BatchSignals,
    step::{StepLoss, TrainStep},
};

/// Documents and what a head is to say of each.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledBatch {
    /// Token ids, of any lengths.
    pub documents: Vec<Vec<u32>>,
    /// One for each.
    pub targets: HeadTargets,
}

impl TrainStep<LabelledBatch> for SequenceClassifier {
    fn loss(&self, batch: &LabelledBatch) -> Result<StepLoss, LossError> {
        let loss = SequenceClassifier::loss(self, &batch.documents, &batch.targets)?;
        let n_tokens = batch.documents.iter().map(Vec::len).sum();
        let step = StepLoss::new(loss.mean, loss.n_tokens, loss.surrogate);
        Ok(step.with_input_tokens(n_tokens))
    }

    fn goes_backward_in_loss(&self) -> bool {
        self.decoder.has_activation_checkpointing()
    }

    fn set_batch_index(&self, index: u64) {
        self.decoder.set_dropout_step(index);
    }

    fn n_fixed_values(&self) -> usize {
        self.decoder.n_fixed_weights()
    }

    fn describe(&self, batch: &LabelledBatch) -> Option<BatchSignals> {
        let lengths: Vec<usize> = batch.documents.iter().map(Vec::len).collect();
        let no_labels: Vec<Vec<i64>> = lengths.iter().map(|n| vec![IGNORE; *n]).collect();
        let counted = BatchSignals::count(&batch.documents, &no_labels, &lengths, IGNORE);
        Some(BatchSignals {
            n_labels: batch.documents.len(),
            ..counted
        })
    }
}

/// Labelled documents in memory as batches, in an order of its own in every epoch.
#[derive(Debug, Clone)]
pub struct LabelledBatches {
    all: LabelledBatch,
    /// The places of each batch's documents.
    places: Groups<usize>,
}

impl LabelledBatches {
    /// Batches of `batch_size` documents; the last one of an epoch may have fewer.
    ///
    /// # Errors
    ///
    /// When there are no documents, another number of targets, or the size is 0.
    pub fn new(all: LabelledBatch, batch_size: usize, order: Order) -> Result<Self, BatchError> {
        let (n_documents, n_targets) = (all.documents.len(), all.targets.len());
        if n_documents != n_targets {
            return Err(format!(
                "expected a target for each of {n_documents} documents, found {n_targets}"
            )
            .into());
        }
        Ok(Self {
            places: Groups::new((0..n_documents).collect(), batch_size, order)?,
            all,
        })
    }
}

impl BatchSource for LabelledBatches {
    type Batch = LabelledBatch;

    fn batch(&mut self, index: usize) -> Result<LabelledBatch, BatchError> {
        let places = self.places.batch(index)?;
        let documents = places
            .iter()
            .map(|&place| self.all.documents[place].clone());
        Ok(LabelledBatch {
            documents: documents.collect(),
            targets: match &self.all.targets {
                HeadTargets::Classes(classes) => {
                    HeadTargets::Classes(places.iter().map(|&place| classes[place]).collect())
                }
                HeadTargets::Values(values) => {
                    HeadTargets::Values(places.iter().map(|&place| values[place].clone()).collect())
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_targets() {
        let all = LabelledBatch {
            documents: (0..7).map(|id| vec![id]).collect(),
            targets: HeadTargets::Classes((0..7).collect()),
        };
        let order = Order::Shuffled { seed: 4 };
        let mut batches = LabelledBatches::new(all, 3, order).unwrap();
        for index in 0..9 {
            let batch = batches.batch(index).unwrap();
            let ids = batch.documents.iter().map(|document| document[0] as usize);
            assert_eq!(batch.targets, HeadTargets::Classes(ids.collect()));
        }
    }

    #[test]
    fn a_target_for_each_document_is_asked_for() {
        let uneven = LabelledBatch {
            documents: vec![vec![1]],
            targets: HeadTargets::Classes(Vec::new()),
        };
        assert!(LabelledBatches::new(uneven, 3, Order::InOrder).is_err());
    }
}
