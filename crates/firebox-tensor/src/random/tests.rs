use super::*;

#[track_caller]
fn check_philox(counter: [u32; 4], key: [u32; 2], expected: [u32; 4]) {
    assert_eq!(philox4x32(counter, key), expected);
}

/// The three known answers for philox4x32 of 10 rounds that the authors' Random123 ships.
#[test]
fn philox_gives_the_published_known_answers() {
    check_philox(
        [0; 4],
        [0; 2],
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
    );
    check_philox(
        [u32::MAX; 4],
        [u32::MAX; 2],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
    );
    check_philox(
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        [0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    );
}

#[test]
fn same_seed_gives_the_same_values_in_any_order() {
    let mut rng = CounterRng::new(7, 3);
    let forward: Vec<f32> = (0..100).map(|_| rng.normal()).collect();
    let backward: Vec<f32> = (0..100).rev().map(|i| rng.normal_at(i)).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    assert_eq!(rng.position(), 100);
    assert_eq!(CounterRng::new(7, 3).at(99).normal(), forward[99]);
}

#[test]
fn streams_and_seeds_do_not_overlap() {
    let draw = |seed, stream| CounterRng::new(seed, stream).next_u64();
    let mut values: Vec<u64> = (0..64).flat_map(|i| [draw(0, i), draw(i + 1, 0)]).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 128);
}

#[test]
fn uniform_has_the_moments_of_the_unit_interval() {
    let n = 1_000_000;
    let mut rng = CounterRng::new(1, 0);
    let values: Vec<f64> = (0..n).map(|_| f64::from(rng.uniform())).collect();
    assert!(values.iter().all(|x| (0.0..1.0).contains(x)));
    let [mean, variance, _, _] = moments(&values);
    // Five standard errors: 5 * sqrt(1/12 / n), and 5 * sqrt(1/180 / n) for the variance.
    assert!((mean - 0.5).abs() < 1.5e-3, "mean {mean}");
    assert!((variance - 1.0 / 12.0).abs() < 4e-4, "variance {variance}");
}

#[test]
fn normal_has_the_moments_of_the_standard_normal() {
    let n = 1_000_000;
    let mut rng = CounterRng::new(2, 0);
    let values: Vec<f64> = (0..n).map(|_| f64::from(rng.normal())).collect();
    let [mean, variance, skewness, kurtosis] = moments(&values);
    // Five standard errors: 5 * sqrt(k / n) with k = 1, 2, 6, 24.
    assert!(mean.abs() < 5e-3, "mean {mean}");
    assert!((variance - 1.0).abs() < 7.1e-3, "variance {variance}");
    assert!(skewness.abs() < 1.3e-2, "skewness {skewness}");
    assert!((kurtosis - 3.0).abs() < 2.5e-2, "kurtosis {kurtosis}");
}

#[test]
fn below_gives_every_integer_equally_often() {
    let mut rng = CounterRng::new(3, 0);
    let mut counts = [0_u32; 7];
    for _ in 0..70_000 {
        counts[rng.below(7) as usize] += 1;
    }
    // Six standard deviations of a binomial count with p = 1/7: 6 * sqrt(70000 * 6/49).
    assert!(
        counts.iter().all(|count| count.abs_diff(10_000) < 556),
        "{counts:?}"
    );
    assert_eq!(rng.below(1), 0);
}

/// Mean, variance, skewness, kurtosis.
fn moments(values: &[f64]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let central = |power| values.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
    let variance = central(2);
    [
        mean,
        variance,
        central(3) / variance.powf(1.5),
        central(4) / variance.powi(2),
    ]
}
