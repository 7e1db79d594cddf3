//! Logarithms of probabilities, as the model computed them: before temperature and penalties.

/// A token's probability, and the likeliest ones in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub id: u32,
    /// The natural logarithm of its probability.
    pub logprob: f32,
    /// How many tokens are likelier, and one.
    pub rank: usize,
    /// The likeliest tokens, best first.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprobs {
    /// Of token `id` under `logits`, with the `n_top` likeliest.
    pub(crate) fn new(logits: &[f32], id: u32, n_top: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|x| f64::from((x - max).exp())).sum();
        let log_sum = max + sum.ln() as f32;
        let own = logits[id as usize];
        Self {
            id,
            logprob: own - log_sum,
            rank: 1 + logits.iter().filter(|x| **x > own).count(),
            top: top(logits, n_top)
                .into_iter()
                .map(|(id, x)| (id, x - log_sum))
                .collect(),
        }
    }
}

/// Makes tokens impossible. Ids without a logit are none.
pub(crate) fn leave_out<'a>(logits: &mut [f32], ids: impl IntoIterator<Item = &'a u32>) {
    for id in ids {
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// The `n` largest, largest first; the smaller id first among equals.
fn top(logits: &[f32], n: usize) -> Vec<(u32, f32)> {
    let n = n.min(logits.len());
    if n == 0 {
        return Vec::new();
    }
    let by_logit = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    all.select_nth_unstable_by(n - 1, by_logit);
    all.truncate(n);
    all.sort_unstable_by(by_logit);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_softmax() {
        let logits = [1.0_f32, 3.0, 2.0, 3.0, -1.0];
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        let expected = |id: usize| (f64::from(logits[id]).exp() / sum).ln() as f32;
        let found = TokenLogprobs::new(&logits, 2, 3);
        assert!((found.logprob - expected(2)).abs() < 1e-6);
        assert_eq!(found.rank, 3);
        let ids: Vec<u32> = found.top.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 3, 2]);
        assert!((found.top[0].1 - expected(1)).abs() < 1e-6);
        assert!(TokenLogprobs::new(&logits, 0, 0).top.is_empty());
        assert_eq!(TokenLogprobs::new(&logits, 0, 99).top.len(), 5);
    }
}
