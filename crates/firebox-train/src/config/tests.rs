use super::*;

#[test]
fn all_problems_are_reported_at_once() {
    let config = TrainConfig {
        n_steps: 0,
        n_accum_steps: 0,
        schedule: Schedule {
            peak: f64::NAN,
            n_warmup_steps: 3,
            decay: Decay::Cosine { floor: 1.5 },
        },
        optimizer: OptimizerConfig::AdamW(AdamWConfig {
            beta_1: 1.0,
            beta_2: -0.1,
            eps: 0.0,
            weight_decay: -1.0,
        }),
        max_grad_norm: Some(0.0),
        max_grad_value: Some(0.0),
        groups: vec![ParamGroup {
            rate_factor: -1.0,
            ..ParamGroup::default()
        }],
        ema: Some(EmaConfig { decay: 1.0 }),
        early_stopping: Some(EarlyStoppingConfig {
            patience: 0,
            min_delta: -1.0,
        }),
        loss_scaling: Some(GradScalerConfig {
            init_scale: 1e39,
            growth_factor: 1.0,
            backoff_factor: 1.0,
            growth_interval: 0,
        }),
        evaluation: Some(EvaluationConfig { every_n_steps: 0 }),
        shard_optimizer_state: true,
        checkpoints: CheckpointConfig {
            every_n_steps: 0,
            n_kept: 0,
        },
    };
    let message = config.validate().unwrap_err().to_string();
    for field in [
        "max_grad_value",
        "groups.rate_factor",
        "ema.decay",
        "early_stopping.patience",
        "early_stopping.min_delta",
        "loss_scaling.init_scale",
        "loss_scaling.growth_factor",
        "loss_scaling.backoff_factor",
        "loss_scaling.growth_interval",
        "evaluation.every_n_steps",
        "checkpoints.every_n_steps",
        "checkpoints.n_kept",
        "n_steps",
        "n_accum_steps",
        "max_grad_norm",
        "schedule.peak",
        "schedule.n_warmup_steps",
        "schedule.decay.floor",
        "optimizer.beta_1",
        "optimizer.beta_2",
        "optimizer.eps",
        "optimizer.weight_decay",
    ] {
        assert!(
            message.contains(&format!("`{field}`")),
            "{field}: {message}"
        );
    }
}

#[test]
fn a_short_file_means_the_defaults() {
    let json = r#"{"n_steps": 10, "schedule": {"peak": 0.001}}"#;
    let config: TrainConfig = serde_json::from_str(json).unwrap();
    assert_eq!(config, TrainConfig::new(10, Schedule::constant(1e-3)));
}

#[test]
fn a_full_config_survives_json() {
    let config = TrainConfig {
        n_accum_steps: 4,
        optimizer: OptimizerConfig::Sgd(SgdConfig {
            momentum: 0.9,
            weight_decay: 0.1,
        }),
        max_grad_norm: Some(1.0),
        ..TrainConfig::new(
            10,
            Schedule {
                peak: 0.1,
                n_warmup_steps: 2,
                decay: Decay::Cosine { floor: 0.1 },
            },
        )
    };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<TrainConfig>(&json).unwrap(), config);
}

#[test]
fn a_misspelt_setting_is_refused() {
    for json in [
        r#"{"n_steps": 10, "schedule": {"peak": 0.001}, "max_gradnorm": 1.0}"#,
        r#"{"n_steps": 10, "schedule": {"peak": 0.001, "warmup": 3}}"#,
        r#"{"n_steps": 10, "schedule": {"peak": 0.001}, "optimizer": {"name": "adamw", "beta1": 0.9}}"#,
        r#"{"n_steps": 10, "schedule": {"peak": 0.001}, "optimizer": {"name": "adam"}}"#,
    ] {
        assert!(serde_json::from_str::<TrainConfig>(json).is_err(), "{json}");
    }
}
