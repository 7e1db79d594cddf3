//! Where batches come from.

use firebox_data::{Order, Permutation};
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

impl<S: BatchSource> BatchSource for &mut S {
    type Batch = S::Batch;

    fn batch(&mut self, index: usize) -> Result<S::Batch, BatchError> {
        (**self).batch(index)
    }

    fn state(&self) -> Value {
        (**self).state()
    }

    fn restore(&mut self, state: &Value) -> Result<(), BatchError> {
        (**self).restore(state)
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

/// Items in memory as batches of some of them, in an order of its own in every epoch.
///
/// # Examples
///
/// ```
/// use firebox_data::Order;
/// use firebox_train::{BatchSource, Groups};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let mut batches = Groups::new(vec!["a", "b", "c"], 2, Order::InOrder)?;
/// assert_eq!(batches.batch(0)?, ["a", "b"]);
/// assert_eq!(batches.batch(1)?, ["c"]);
/// assert_eq!(batches.batch(2)?, ["a", "b"]); // the second epoch
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Groups<T> {
    items: Vec<T>,
    batch_size: usize,
    order: Order,
}

impl<T> Groups<T> {
    /// Batches of `batch_size` items; the last one of an epoch may have fewer.
    ///
    /// # Errors
    ///
    /// When there are no items, or the size is 0.
    pub fn new(items: Vec<T>, batch_size: usize, order: Order) -> Result<Self, BatchError> {
        if items.is_empty() || batch_size == 0 {
            return Err(format!(
                "expected at least one record, in batches of at least 1, found {} and {batch_size}",
                items.len()
            )
            .into());
        }
        Ok(Self {
            items,
            batch_size,
            order,
        })
    }

    /// Batches of one epoch.
    pub fn n_batches(&self) -> usize {
        self.items.len().div_ceil(self.batch_size)
    }
}

impl<T: Clone> BatchSource for Groups<T> {
    type Batch = Vec<T>;

    fn batch(&mut self, index: usize) -> Result<Vec<T>, BatchError> {
        let (epoch, n) = (index / self.n_batches(), self.items.len());
        let start = index % self.n_batches() * self.batch_size;
        let places = start..n.min(start + self.batch_size);
        let Order::Shuffled { seed } = self.order else {
            return Ok(self.items[places].to_vec());
        };
        let order = Permutation::new(n as u64, seed.wrapping_add(epoch as u64));
        let items = places.filter_map(|place| order.get(place as u64));
        Ok(items
            .map(|item| self.items[item as usize].clone())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(batches: &mut Groups<usize>, epoch: usize) -> Vec<usize> {
        let batches = (0..3).map(|batch| batches.batch(epoch * 3 + batch).unwrap());
        batches.collect::<Vec<_>>().concat()
    }

    #[test]
    fn an_epoch_has_each_item_once_in_an_order_of_its_own() {
        let order = Order::Shuffled { seed: 4 };
        let mut batches = Groups::new((0..7).collect(), 3, order).unwrap();
        let first = epoch(&mut batches, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..7).collect::<Vec<_>>());
        assert_ne!(first, epoch(&mut batches, 1));
        assert_eq!(first, epoch(&mut batches, 0));
    }

    #[test]
    fn nothing_to_learn_from_is_an_error() {
        assert!(Groups::new(Vec::<usize>::new(), 3, Order::InOrder).is_err());
        assert!(Groups::new(vec![1], 0, Order::InOrder).is_err());
    }
}
