//! A fixed rotation of heads.

/// Turns each head of `x`, `[.., head_dim]`, by a Hadamard matrix over its square root: an orthogonal
/// matrix, symmetric, that spreads what stands out in one number over all of them. Where `head_dim`
/// is no power of two, parts of the largest one that divides it are turned each alone. Scalar
/// products of two vectors stay the same when both are turned.
///
/// Source: Ashkboos et al. (2024), QuaRot, section 4, <https://arxiv.org/abs/2404.00456>.
pub(crate) fn rotate_heads(x: &mut [f32], head_dim: usize) {
    let n = 1 << head_dim.trailing_zeros();
    let scale = 1.0 / (n as f32).sqrt();
    for part in x.chunks_exact_mut(n) {
        let mut half = 1;
        while half < n {
            for pair in part.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(high) {
                    (*low, *high) = (*low + *high, *low - *high);
                }
            }
            half *= 2;
        }
        for x in part {
            *x *= scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_multiplied_by_the_matrix_of_signs() {
        for (head_dim, n) in [(1, 1), (2, 2), (30, 2), (64, 64), (80, 16)] {
            let x: Vec<f32> = (0..2 * head_dim)
                .map(|i| ((i * 7 + 3) % 11) as f32)
                .collect();
            let mut turned = x.clone();
            rotate_heads(&mut turned, head_dim);
            for (part, turned) in x.chunks(n).zip(turned.chunks(n)) {
                for (row, turned) in turned.iter().enumerate() {
                    // Sylvester's matrix: the sign is the parity of the common bits.
                    let sign = |column: usize| match (row & column).count_ones() % 2 {
                        0 => 1.0,
                        _ => -1.0,
                    };
                    let sum: f32 = part.iter().enumerate().map(|(i, x)| sign(i) * x).sum();
                    let expected = sum / (n as f32).sqrt();
                    assert!((turned - expected).abs() < 1e-4, "{head_dim}, row {row}");
                }
            }
        }
    }

    #[test]
    fn a_second_turn_gives_back_the_first() {
        let x: Vec<f32> = (0..128).map(|i| ((i * 37) % 19) as f32 - 9.0).collect();
        let mut turned = x.clone();
        rotate_heads(&mut turned, 64);
        assert!(turned.iter().zip(&x).any(|(a, b)| (a - b).abs() > 1.0));
        rotate_heads(&mut turned, 64);
        assert!(turned.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
