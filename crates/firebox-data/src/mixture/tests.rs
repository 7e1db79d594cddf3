//! Proportions hold at every turn, not only in the end.

use proptest::prelude::*;

use super::{Mixture, ROUNDED_PERIOD};
use crate::LoaderError;

#[test]
fn common_decimals_are_exact() {
    let mixture = |weights: &[f64]| {
        let mixture = Mixture::new(weights).unwrap();
        (0..weights.len())
            .map(|source| mixture.share(source))
            .collect::<Vec<_>>()
    };
    assert_eq!(mixture(&[0.7, 0.2, 0.1]), [(7, 10), (2, 10), (1, 10)]);
    assert_eq!(mixture(&[1.0, 1.0, 1.0]), [(1, 3); 3]);
    assert_eq!(mixture(&[0.333, 0.667]), [(333, 1000), (667, 1000)]);
    assert_eq!(mixture(&[5.0]), [(1, 1)]);
    let shares = mixture(&[std::f64::consts::PI, 1.0]);
    assert_eq!(shares[0].0 + shares[1].0, ROUNDED_PERIOD);
    assert_eq!(shares[1].0, 253_181); // 2^20 / (pi + 1) = 253,181.8
    assert_eq!(mixture(&[1e-300, 1.0])[0], (1, ROUNDED_PERIOD));
    assert_eq!(mixture(&[f64::MAX, f64::MAX, f64::MAX]), [(1, 3); 3]);
}

#[test]
fn weights_that_are_none_are_refused() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = Mixture::new(&[1.0, weight]).unwrap_err();
        assert!(
            matches!(error, LoaderError::BadWeight { index: 1, .. }),
            "{error}"
        );
    }
    insta::assert_snapshot!(Mixture::new(&[0.0]).unwrap_err(), @"mix sources: expected a weight above 0 for source 0, found 0 (hint: leave a source out to mute it)");
    insta::assert_snapshot!(Mixture::new(&[]).unwrap_err(), @"make a loader: expected at least one source, found none (hint: add a corpus)");
    let error = Mixture::new(&[1.0; 5000]).unwrap_err();
    assert!(matches!(
        error,
        LoaderError::TooManySources {
            n_sources: 5000,
            ..
        }
    ));
}

fn weights() -> impl Strategy<Value = Vec<f64>> {
    let whole = prop::collection::vec((1_u32..100).prop_map(f64::from), 1..9);
    let any = prop::collection::vec(0.001_f64..10.0, 1..9);
    prop_oneof![whole, any]
}

proptest! {
    #[test]
    fn every_source_is_within_one_turn_of_its_share(weights in weights(), start in 0_u64..1 << 21) {
        let mut mixture = Mixture::new(&weights).unwrap();
        mixture.seek(start);
        let mut before: Vec<u64> = (0..weights.len()).map(|source| mixture.n_taken(source)).collect();
        for turn in start..start + 300 {
            let next = mixture.next_turn();
            prop_assert_eq!(next.n_before, before[next.source]);
            before[next.source] += 1;
            for (source, &n_taken) in before.iter().enumerate() {
                let (share, period) = mixture.share(source);
                let due = (turn + 1) as f64 * share as f64 / period as f64;
                prop_assert!((n_taken as f64 - due).abs() < 1.0, "{} for {} at {}", n_taken, due, turn);
            }
        }
        let n_taken: Vec<u64> = (0..weights.len()).map(|source| mixture.n_taken(source)).collect();
        prop_assert_eq!(n_taken.iter().sum::<u64>(), start + 300);
        prop_assert_eq!(n_taken, before);
    }

    #[test]
    fn seeking_is_the_same_as_walking(weights in weights(), turn in 0_u64..3000, from in 0_u64..3000) {
        let mut walked = Mixture::new(&weights).unwrap();
        for _ in 0..turn {
            walked.next_turn();
        }
        let mut sought = Mixture::new(&weights).unwrap();
        sought.seek(from);
        sought.seek(turn);
        for _ in 0..20 {
            prop_assert_eq!(sought.next_turn(), walked.next_turn());
        }
    }

    #[test]
    fn shares_follow_the_weights(weights in weights()) {
        let mixture = Mixture::new(&weights).unwrap();
        let sum: f64 = weights.iter().sum();
        for (source, weight) in weights.iter().enumerate() {
            let (share, period) = mixture.share(source);
            let error = (share as f64 / period as f64 - weight / sum).abs();
            prop_assert!(error < 1e-5, "{} off by {}", weight, error);
        }
    }
}
