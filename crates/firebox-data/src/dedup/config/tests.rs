use super::*;

#[test]
fn defaults_are_those_of_datatrove() {
    let near = MinHashConfig::default();
    assert_eq!((near.n_gram, near.n_bands, near.n_rows), (5, 14, 8));
    assert!((near.detection_rate(0.8) - 0.924).abs() < 0.0005);
    assert_eq!(
        (near.detection_rate(0.0), near.detection_rate(1.0)),
        (0.0, 1.0)
    );
}

#[test]
fn configs_survive_toml_and_an_empty_table_is_the_default() {
    let config = DedupConfig {
        keep: KeepRule::Newest,
        ..DedupConfig::default()
    };
    let written = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<DedupConfig>(&written).unwrap(), config);
    assert_eq!(
        toml::from_str::<DedupConfig>("").unwrap(),
        DedupConfig::default()
    );
}

#[test]
fn unknown_settings_are_refused() {
    for text in [
        "bands = 3",
        "[near]\nbands = 3",
        "[exact_text]\nlower = true",
        "keep = \"best\"",
    ] {
        assert!(toml::from_str::<DedupConfig>(text).is_err(), "{text}");
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut DedupConfig)) -> String {
    let mut config = DedupConfig::default();
    change(&mut config);
    config.validate().unwrap_err().to_string()
}

#[test]
fn settings_outside_their_range_are_named() {
    insta::assert_snapshot!(refused(|c| c.near.n_bands = 0), @"read `near.n_bands` of [dedup]: expected 1 to 512, found 0 (hint: correct the recipe)");
    insta::assert_snapshot!(refused(|c| c.check.false_merge_below = f64::NAN), @"read `check.false_merge_below` of [dedup]: expected 0 to 1, found NaN (hint: correct the recipe)");
    insta::assert_snapshot!(refused(|c| { c.near.n_bands = 512; c.near.n_rows = 512; }), @"read `near.n_bands * near.n_rows` of [dedup]: expected 1 to 4096, found 262144 (hint: correct the recipe)");
    assert!(refused(|c| c.near.n_gram = 0).contains("near.n_gram"));
    assert!(refused(|c| c.memory_bytes = 5).contains("memory_bytes"));
    assert!(refused(|c| c.near.min_estimated_jaccard = 1.5).contains("min_estimated_jaccard"));
}
