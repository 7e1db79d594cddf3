use burn::tensor::{Device, Distribution};
use proptest::prelude::*;

use super::*;

fn rotate(x: &Tensor<4>, start: usize) -> Tensor<4> {
    let [_, _, seq, head_dim] = x.dims();
    RopeTable::new(&inv_freq(10_000.0, head_dim, None), start, seq, &x.device()).rotate(x.clone())
}

fn random(head_dim: usize) -> Tensor<4> {
    Tensor::random(
        [1, 1, 1, head_dim],
        Distribution::Normal(0.0, 1.0),
        &Device::flex(),
    )
}

fn dot(a: Tensor<4>, b: Tensor<4>) -> f32 {
    (a * b).sum().into_scalar()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rotation_keeps_the_norm(position in 0_usize..4000, half in 1_usize..40) {
        let x = random(2 * half);
        let turned = rotate(&x, position);
        let (before, after) = (dot(x.clone(), x), dot(turned.clone(), turned));
        // Sines and cosines are exact to an ulp of f32, twice.
        prop_assert!((before - after).abs() <= 1e-5 * before.max(1.0));
    }

    #[test]
    fn a_score_depends_on_the_distance_alone(first in 0_usize..500, second in 0_usize..500, shift in 0_usize..500) {
        let (q, k) = (random(32), random(32));
        let near = dot(rotate(&q, first), rotate(&k, second));
        let far = dot(rotate(&q, first + shift), rotate(&k, second + shift));
        // The angle's error in f32 grows with the position: 1000 · 2^-24, times the norms.
        prop_assert!((near - far).abs() < 2e-2, "{near} {far}");
    }
}

#[test]
fn llama3_scaling_keeps_short_waves_and_stretches_long_ones() {
    let scaling = RopeScaling {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_seq_len: 8192,
    };
    let (plain, scaled) = (
        inv_freq(500_000.0, 128, None),
        inv_freq(500_000.0, 128, Some(&scaling)),
    );
    assert_eq!(plain[0], scaled[0]);
    assert_eq!(plain[63] / 8.0, scaled[63]);
    assert!(
        plain
            .iter()
            .zip(&scaled)
            .all(|(p, s)| s <= p && *s >= p / 8.0)
    );
}
