//! One vector for all tokens of a text.

/// How a text's hidden states become its vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, special tokens among them.
    #[default]
    Mean,
    /// That of the first token, `[CLS]`.
    Cls,
}

impl Pooling {
    /// `[tokens, dim]` to `[dim]`; zeros of no tokens.
    pub(super) fn pool(self, hidden: &[f32], dim: usize) -> Vec<f32> {
        let mut pooled = vec![0.0; dim];
        let n = match self {
            Self::Mean => hidden.len() / dim,
            Self::Cls => 1,
        };
        for row in hidden.chunks_exact(dim).take(n) {
            for (sum, x) in pooled.iter_mut().zip(row) {
                *sum += x;
            }
        }
        for x in &mut pooled {
            *x /= n.max(1) as f32;
        }
        pooled
    }
}
