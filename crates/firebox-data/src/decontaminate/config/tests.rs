use super::*;

#[test]
fn settings_outside_their_range_are_named() {
    let config = DecontaminateConfig {
        min_n_gram: 14,
        ..DecontaminateConfig::default()
    };
    insta::assert_snapshot!(config.validate().unwrap_err(), @"read `min_n_gram` of [decontaminate]: expected 1 to 13, found 14 (hint: correct the recipe)");
    assert!(
        DecontaminateConfig {
            n_gram: 0,
            ..DecontaminateConfig::default()
        }
        .validate()
        .is_err()
    );
}

#[test]
fn configs_survive_toml_and_unknown_settings_are_refused() {
    let config = DecontaminateConfig {
        against: vec!["eval".into()],
        action: ContaminatedAction::Report,
        ..DecontaminateConfig::default()
    };
    let written = toml::to_string(&config).unwrap();
    assert_eq!(
        toml::from_str::<DecontaminateConfig>(&written).unwrap(),
        config
    );
    assert!(toml::from_str::<DecontaminateConfig>("ngram = 13").is_err());
}
