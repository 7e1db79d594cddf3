use proptest::prelude::*;

use super::*;

fn draw(config: SamplingConfig, logits: &[f32], n: usize) -> Vec<u32> {
    let sampler = Sampler::new(config).unwrap();
    let mut drawn = Vec::new();
    for _ in 0..n {
        drawn.push(sampler.sample(&mut logits.to_vec(), &drawn, 0).unwrap());
    }
    drawn
}

const LOGITS: [f32; 5] = [0.0, 2.0, 1.0, -1.0, 1.9];

#[test]
fn temperature_zero_takes_the_most_likely() {
    assert_eq!(draw(SamplingConfig::default(), &LOGITS, 3), [1, 1, 1]);
}

#[test]
fn frequencies_follow_the_softmax() {
    let drawn = draw(
        SamplingConfig {
            temperature: 1.0,
            ..Default::default()
        },
        &LOGITS,
        20_000,
    );
    let total: f32 = LOGITS.iter().map(|l| l.exp()).sum();
    for (id, logit) in LOGITS.iter().enumerate() {
        let share = drawn.iter().filter(|d| **d == id as u32).count() as f32 / 20_000.0;
        // Three standard deviations of a share near 0.4 in 20,000 draws are 0.0104.
        assert!((share - logit.exp() / total).abs() < 0.011, "{id}: {share}");
    }
}

#[test]
fn cuts_keep_the_right_tokens() {
    let kept = |config: SamplingConfig| {
        let mut ids = draw(
            SamplingConfig {
                temperature: 1.0,
                ..config
            },
            &LOGITS,
            2000,
        );
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    assert_eq!(
        kept(SamplingConfig {
            top_k: 2,
            ..Default::default()
        }),
        [1, 4]
    );
    // Probabilities 0.41, 0.37, 0.15, 0.055, 0.02: two tokens reach 0.7, three 0.9.
    assert_eq!(
        kept(SamplingConfig {
            top_p: 0.7,
            ..Default::default()
        }),
        [1, 4]
    );
    assert_eq!(
        kept(SamplingConfig {
            top_p: 0.9,
            ..Default::default()
        }),
        [1, 2, 4]
    );
    assert_eq!(
        kept(SamplingConfig {
            min_p: 0.3,
            ..Default::default()
        }),
        [1, 2, 4]
    );
}

#[test]
fn the_repetition_penalty_discourages_what_was_seen() {
    let config = SamplingConfig {
        repetition_penalty: 2.0,
        ..Default::default()
    };
    let mut logits = LOGITS.to_vec();
    assert_eq!(
        Sampler::new(config)
            .unwrap()
            .sample(&mut logits, &[1, 3, 1], 2),
        Some(4)
    );
    assert_eq!((logits[1], logits[3]), (1.0, -2.0));
}

#[test]
fn other_penalties_are_for_what_was_generated_and_a_bias_comes_first() {
    let config = SamplingConfig {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        repetition_penalty: 2.0,
        logit_bias: vec![(0, 4.0), (77, 1.0)],
        ..Default::default()
    };
    let mut logits = LOGITS.to_vec();
    // 2 is in the prompt alone, 1 was generated twice; 0 has its bias, then its penalty: 4 / 2 - 0.75.
    let drawn = Sampler::new(config).unwrap();
    let drawn = drawn.sample(&mut logits, &[2, 1, 0, 1], 1);
    assert_eq!(logits, [1.25, 0.0, 0.5, -1.0, 1.9]);
    assert_eq!(drawn, Some(4));
}

#[test]
fn typical_sampling_leaves_out_what_says_too_little_or_too_much() {
    // Probabilities 0.9, 0.05, 0.03, 0.02: an entropy of 0.43 nats, from which the first token's 0.11
    // nats are nearest.
    let logits = [0.9_f32, 0.05, 0.03, 0.02].map(f32::ln);
    let config = |typical_p| SamplingConfig {
        temperature: 1.0,
        typical_p,
        ..Default::default()
    };
    assert!(draw(config(0.5), &logits, 200).iter().all(|id| *id == 0));
    // Probabilities 0.4 and six times 0.1: 1.75 nats. A tenth has 2.30, four tenths 0.92.
    let logits = [0.4_f32, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1].map(f32::ln);
    let drawn = draw(config(0.45), &logits, 200);
    assert!(drawn.iter().all(|id| (1..=5).contains(id)), "{drawn:?}");
}

#[test]
fn settings_outside_their_range_are_named() {
    let message = |config: SamplingConfig| Sampler::new(config).unwrap_err().to_string();
    let negative = SamplingConfig {
        temperature: -1.0,
        ..Default::default()
    };
    assert_eq!(
        message(negative),
        "`temperature`: expected a number from 0 up, found -1"
    );
    assert!(
        message(SamplingConfig {
            top_p: 0.0,
            ..Default::default()
        })
        .contains("`top_p`")
    );
    assert!(
        message(SamplingConfig {
            min_p: 1.0,
            ..Default::default()
        })
        .contains("`min_p`")
    );
    assert!(
        message(SamplingConfig {
            temperature: f32::NAN,
            ..Default::default()
        })
        .contains("NaN")
    );
}

proptest! {
    #[test]
    fn a_draw_is_always_a_token_of_the_vocabulary(
        logits in prop::collection::vec(-50.0_f32..50.0, 1..80),
        temperature in 0.0_f32..3.0, top_k in 0_usize..100, top_p in 0.01_f32..=1.0, min_p in 0.0_f32..0.99,
        typical_p in 0.01_f32..=1.0, presence_penalty in -2.0_f32..2.0, frequency_penalty in -2.0_f32..2.0,
        biases in prop::collection::vec((0_u32..90, -100.0_f32..100.0), 0..4), seed: u64,
    ) {
        let config = SamplingConfig {
            temperature, top_k, top_p, min_p, typical_p, presence_penalty, frequency_penalty,
            repetition_penalty: 1.1, logit_bias: biases, seed,
        };
        let a = draw(config.clone(), &logits, 4);
        prop_assert!(a.iter().all(|id| (*id as usize) < logits.len()));
        prop_assert_eq!(a, draw(config, &logits, 4));
    }
}

#[test]
fn logits_that_are_no_numbers_are_never_drawn() {
    for temperature in [0.0, 1.0] {
        let config = SamplingConfig {
            temperature,
            ..Default::default()
        };
        let sampler = Sampler::new(config).unwrap();
        for _ in 0..20 {
            assert_eq!(
                sampler.sample(&mut [f32::NAN, f32::NEG_INFINITY, -3.0, f32::NAN], &[], 0),
                Some(2)
            );
        }
        assert_eq!(
            sampler.sample(&mut [f32::NAN, f32::INFINITY, f32::NEG_INFINITY], &[], 0),
            None
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    // Flat distributions, of which top-p keeps more than it sorts at first, and steep ones.
    #[test]
    fn top_p_keeps_what_sorting_everything_would_keep(
        n in 1_usize..3000, spread in 0.0_f32..6.0, top_p in 0.01_f32..0.999, seed: u64,
    ) {
        let mut rng = CounterRng::new(seed, 0);
        let all: Vec<(u32, f32)> = (0..n as u32).map(|id| (id, (rng.normal() * spread).exp())).collect();
        let mut sorted = all.clone();
        sorted.sort_by(by_probability);
        let total: f64 = all.iter().map(|(_, p)| f64::from(*p)).sum();
        let mut sum = 0.0;
        let enough = sorted.iter().position(|(_, p)| {
            sum += f64::from(*p);
            sum >= f64::from(top_p) * total
        });
        sorted.truncate(enough.map_or(n, |at| at + 1));
        let sampler = Sampler::new(SamplingConfig { top_p, ..Default::default() }).unwrap();
        let mut kept = all;
        sampler.cut_top_p(&mut kept);
        prop_assert_eq!(kept, sorted);
    }
}
