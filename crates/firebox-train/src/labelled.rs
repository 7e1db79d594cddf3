//! Documents with targets, and the training of a new head on them.

use firebox_data::{Order, Permutation};
use firebox_model::{HeadTargets, IGNORE, SequenceClassifier};

use crate::{
    batch::BatchSource,
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

    fn set_batch_index(&self, index: u64) {
        self.decoder.set_dropout_step(index);
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
    batch_size: usize,
    order: Order,
}

impl LabelledBatches {
    /// Batches of `batch_size` documents; the last one of an epoch may have fewer.
    ///
    /// # Errors
    ///
    /// When there are no documents, another number of targets, or the size is 0.
    pub fn new(all: LabelledBatch, batch_size: usize, order: Order) -> Result<Self, BatchError> {
        let (n_documents, n_targets) = (all.documents.len(), all.targets.len());
        if n_documents == 0 || n_documents != n_targets || batch_size == 0 {
            return Err(format!(
                "expected documents, a target for each, and batches of at least 1, found \
                 {n_documents}, {n_targets} and {batch_size}"
            )
            .into());
        }
        Ok(Self {
            all,
            batch_size,
            order,
        })
    }

    /// Batches of one epoch.
    pub fn n_batches(&self) -> usize {
        self.all.documents.len().div_ceil(self.batch_size)
    }
}

impl BatchSource for LabelledBatches {
    type Batch = LabelledBatch;

    fn batch(&mut self, index: usize) -> Result<LabelledBatch, BatchError> {
        let (epoch, n) = (index / self.n_batches(), self.all.documents.len());
        let start = index % self.n_batches() * self.batch_size;
        let places = start..n.min(start + self.batch_size);
        let items: Vec<usize> = match self.order {
            Order::InOrder => places.collect(),
            Order::Shuffled { seed } => {
                let order = Permutation::new(n as u64, seed.wrapping_add(epoch as u64));
                let items = places.filter_map(|place| order.get(place as u64));
                items.map(|item| item as usize).collect()
            }
        };
        let documents = items.iter().map(|&item| self.all.documents[item].clone());
        Ok(LabelledBatch {
            documents: documents.collect(),
            targets: match &self.all.targets {
                HeadTargets::Classes(classes) => {
                    HeadTargets::Classes(items.iter().map(|&item| classes[item]).collect())
                }
                HeadTargets::Values(values) => {
                    HeadTargets::Values(items.iter().map(|&item| values[item].clone()).collect())
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(order: Order) -> LabelledBatches {
        let all = LabelledBatch {
            documents: (0..7).map(|id| vec![id]).collect(),
            targets: HeadTargets::Classes((0..7).collect()),
        };
        LabelledBatches::new(all, 3, order).unwrap()
    }

    #[test]
    fn an_epoch_has_each_document_once_with_its_target() {
        for order in [Order::InOrder, Order::Shuffled { seed: 4 }] {
            let mut batches = batches(order);
            for epoch in 0..3 {
                let mut seen = Vec::new();
                for batch in 0..3 {
                    let batch = batches.batch(epoch * 3 + batch).unwrap();
                    let HeadTargets::Classes(classes) = batch.targets else {
                        unreachable!("classes went in");
                    };
                    let ids: Vec<usize> = batch.documents.iter().map(|d| d[0] as usize).collect();
                    assert_eq!(ids, classes);
                    seen.extend(ids);
                }
                seen.sort_unstable();
                assert_eq!(seen, (0..7).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn epochs_have_orders_of_their_own() {
        let mut batches = batches(Order::Shuffled { seed: 4 });
        let epoch = |batches: &mut LabelledBatches, epoch: usize| -> Vec<Vec<u32>> {
            let documents = (0..3).map(|batch| batches.batch(epoch * 3 + batch).unwrap().documents);
            documents.collect::<Vec<_>>().concat()
        };
        let first = epoch(&mut batches, 0);
        assert_ne!(first, epoch(&mut batches, 1));
        assert_eq!(first, epoch(&mut batches, 0));
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        let none = LabelledBatch {
            documents: Vec::new(),
            targets: HeadTargets::Classes(Vec::new()),
        };
        assert!(LabelledBatches::new(none, 3, Order::InOrder).is_err());
    }
}
