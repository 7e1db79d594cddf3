//! Every failure is reproduced, recognised and repaired; healthy runs are left alone.

use firebox_train::diagnose::{
    Failure,
    lab::{N_HEALTHY, healthy, reproduce},
};

#[test]
fn every_failure_is_recognised_and_its_fix_is_clean() {
    let mut wrong = Vec::new();
    for failure in Failure::ALL {
        let found = reproduce(failure);
        let finding = found.broken.finding(failure);
        println!(
            "{failure}: {}; broken {:.3?} → {:.3?} {}; fixed {:.3?} → {:.3?}, {:.2?}",
            finding.map_or("not recognised".to_owned(), |finding| format!(
                "step {} (first sign {}): {}",
                finding.step, finding.first_sign, finding.evidence
            )),
            found.broken.losses.first(),
            found.broken.last_loss(),
            found.broken.error.as_deref().unwrap_or(""),
            found.fixed.losses.first(),
            found.fixed.last_loss(),
            found.broken.elapsed + found.fixed.elapsed,
        );
        for other in &found.broken.findings {
            if other.failure != failure {
                println!("    also {}: {}", other.failure, other.evidence);
            }
        }
        for other in &found.fixed.findings {
            println!("    fixed, yet {}: {}", other.failure, other.evidence);
        }
        if let Some(error) = &found.fixed.error {
            println!("    fixed, yet {error}");
        }
        if !found.is_shown() {
            wrong.push(failure);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_false_alarm_on_healthy_runs() {
    let mut alarms = Vec::new();
    for number in 0..N_HEALTHY {
        let trial = healthy(number);
        assert_eq!(trial.error, None, "run {number}");
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (&trial.losses[..5], &trial.losses[trial.losses.len() - 5..]);
        // The adapters start where their base has learned nearly all that there is.
        assert!(mean(last) < 1.1 * mean(first), "run {number} got worse");
        alarms.extend(trial.findings.into_iter().map(|finding| (number, finding)));
    }
    assert!(alarms.is_empty(), "{alarms:#?}");
}
