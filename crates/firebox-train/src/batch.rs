//! Where batches come from.

use crate::error::BatchError;
use firebox_tensor::random::CounterRng;

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

/// Batches that come in a new order in every pass over them, fixed by a seed.
///
/// # Examples
///
/// ```
/// use firebox_train::{BatchSource, Shuffled};
///
/// let mut source = Shuffled::new(vec!['a', 'b', 'c', 'd'], 42);
/// let mut first_pass: Vec<char> = (0..4).map(|index| source.batch(index).unwrap()).collect();
/// first_pass.sort();
/// assert_eq!(first_pass, ['a', 'b', 'c', 'd']);
/// ```
#[derive(Debug, Clone)]
pub struct Shuffled<B> {
    batches: Vec<B>,
    seed: u64,
    /// The pass that `order` belongs to.
    pass: usize,
    order: Vec<usize>,
}

impl<B> Shuffled<B> {
    /// The orders of all passes follow from `seed`.
    pub fn new(batches: Vec<B>, seed: u64) -> Self {
        Self {
            order: shuffled_order(batches.len(), seed, 0),
            batches,
            seed,
            pass: 0,
        }
    }
}

impl<B: Clone> BatchSource for Shuffled<B> {
    type Batch = B;

    fn batch(&mut self, index: usize) -> Result<B, BatchError> {
        let len = self.batches.len();
        let pass = index.checked_div(len).unwrap_or(0);
        if pass != self.pass {
            self.order = shuffled_order(len, self.seed, pass);
            self.pass = pass;
        }
        let index = self.order.get(index - pass * len).copied().unwrap_or(0);
        self.batches.as_slice().batch(index)
    }
}

/// Fisher and Yates' shuffle of `0..len`, on a random stream of its own for each pass.
///
/// Source: Durstenfeld (1964), algorithm 235, <https://doi.org/10.1145/364520.364540>.
fn shuffled_order(len: usize, seed: u64, pass: usize) -> Vec<usize> {
    let mut random = CounterRng::new(seed, pass as u64);
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(source: &mut Shuffled<usize>, pass: usize) -> Vec<usize> {
        let indices = pass * 50..(pass + 1) * 50;
        indices.map(|index| source.batch(index).unwrap()).collect()
    }

    #[test]
    fn every_pass_has_every_batch_once_in_an_order_of_its_own() {
        let mut source = Shuffled::new((0..50).collect(), 7);
        let (first, second) = (pass(&mut source, 0), pass(&mut source, 1));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..50));
        }
    }

    #[test]
    fn an_order_depends_on_the_seed_and_the_pass_alone() {
        let mut source = Shuffled::new((0..50).collect(), 7);
        let third = pass(&mut source, 3);
        pass(&mut source, 0);
        assert_eq!(pass(&mut source, 3), third);
        assert_eq!(pass(&mut Shuffled::new((0..50).collect(), 7), 3), third);
        assert_ne!(pass(&mut Shuffled::new((0..50).collect(), 8), 3), third);
    }

    #[test]
    fn no_batches_is_an_error_in_any_order() {
        assert!(Shuffled::<usize>::new(Vec::new(), 7).batch(3).is_err());
        assert!(Vec::<usize>::new().batch(0).is_err());
    }
}
