use super::*;
use proptest::prelude::*;

fn any_schedule() -> impl Strategy<Value = (Schedule, usize)> {
    (1e-6..1.0, 0usize..50, 1usize..200, 0.0..1.0, any::<bool>()).prop_map(
        |(peak, n_warmup_steps, n_decay_steps, floor, constant)| {
            let decay = match constant {
                true => Decay::Constant,
                false => Decay::Cosine { floor },
            };
            let schedule = Schedule {
                peak,
                n_warmup_steps,
                decay,
            };
            (schedule, n_warmup_steps + n_decay_steps)
        },
    )
}

proptest! {
    #[test]
    fn rates_are_positive_and_at_most_the_peak((schedule, n_steps) in any_schedule()) {
        for step in 0..n_steps {
            let rate = schedule.learning_rate(step, n_steps);
            prop_assert!(rate > 0.0 && rate <= schedule.peak, "step {step}: {rate}");
        }
    }

    #[test]
    fn warm_up_rises_and_then_the_rate_never_rises((schedule, n_steps) in any_schedule()) {
        for step in 1..n_steps {
            let before = schedule.learning_rate(step - 1, n_steps);
            let rate = schedule.learning_rate(step, n_steps);
            if step <= schedule.n_warmup_steps {
                prop_assert!(rate > before);
            } else {
                prop_assert!(rate <= before);
            }
        }
    }

    #[test]
    fn the_first_step_after_warm_up_has_the_peak((schedule, n_steps) in any_schedule()) {
        let rate = schedule.learning_rate(schedule.n_warmup_steps, n_steps);
        prop_assert!((rate / schedule.peak - 1.0).abs() < 1e-12);
    }
}

#[test]
fn cosine_is_half_way_in_the_middle_and_stays_at_the_floor() {
    let schedule = Schedule {
        peak: 2.0,
        n_warmup_steps: 0,
        decay: Decay::Cosine { floor: 0.5 },
    };
    assert!((schedule.learning_rate(50, 100) - 1.5).abs() < 1e-12);
    assert!((schedule.learning_rate(100, 100) - 1.0).abs() < 1e-12);
    assert!((schedule.learning_rate(500, 100) - 1.0).abs() < 1e-12);
}
