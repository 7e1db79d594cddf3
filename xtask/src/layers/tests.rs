use std::path::PathBuf;

use super::*;

fn dependency(name: &str) -> Dependency {
    Dependency {
        name: name.to_owned(),
        kind: None,
        features: Vec::new(),
        uses_default_features: false,
    }
}

fn dev_dependency(name: &str) -> Dependency {
    Dependency {
        kind: Some("dev".to_owned()),
        ..dependency(name)
    }
}

fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
    let manifest_path = PathBuf::from(format!("/w/crates/{name}/Cargo.toml"));
    Package {
        name: name.to_owned(),
        manifest_path,
        dependencies,
    }
}

#[track_caller]
fn check_allowed(from: &str, dependency: Dependency) {
    assert_eq!(
        faults_of(&package(from, vec![dependency])),
        Vec::<String>::new()
    );
}

#[track_caller]
fn check_forbidden(from: &str, dependency: Dependency, expected: &str) {
    assert_eq!(faults_of(&package(from, vec![dependency])), [expected]);
}

#[test]
fn an_arrow_down_is_allowed_over_any_number_of_rows() {
    check_allowed("firebox", dependency("firebox-hub"));
    check_allowed("firebox-model", dependency("firebox-checkpoint"));
    check_allowed("firebox-train", dependency("firebox-data"));
}

#[test]
fn an_arrow_up_or_aside_is_not() {
    check_forbidden(
        "firebox-model",
        dependency("firebox-train"),
        "firebox-model -> firebox-train: firebox-train is in a higher layer",
    );
    check_forbidden(
        "firebox-quant",
        dependency("firebox-eval"),
        "firebox-quant -> firebox-eval: firebox-eval is in the same layer",
    );
    check_forbidden(
        "firebox-data",
        dev_dependency("firebox-model"),
        "firebox-data -> firebox-model: firebox-model is in a higher layer",
    );
}

#[test]
fn tokio_stays_where_the_network_is() {
    check_allowed("firebox-serve", dependency("tokio"));
    check_allowed("firebox-model", dev_dependency("tokio"));
    check_forbidden(
        "firebox-model",
        dependency("tokio"),
        "firebox-model -> tokio: only firebox, firebox-serve, firebox-hub, firebox-cluster may, \
         because libraries are synchronous; only what talks to a network is not",
    );
}

#[test]
fn weight_files_are_opened_by_one_crate() {
    check_allowed("firebox-checkpoint", dependency("safetensors"));
    check_allowed("firebox-tensor", dev_dependency("safetensors"));
    check_forbidden(
        "firebox-model",
        dependency("safetensors"),
        "firebox-model -> safetensors: only firebox-checkpoint may, because weight files are opened in one place",
    );
}

#[test]
fn burn_stays_out_of_what_knows_no_tensors() {
    check_allowed("firebox-model", dependency("burn"));
    check_forbidden(
        "firebox-data",
        dependency("burn"),
        "firebox-data -> burn: firebox-data knows nothing of tensors and must build without burn",
    );
}

#[test]
fn burn_does_not_come_in_through_a_feature() {
    check_allowed("firebox-checkpoint", dependency("firebox-tensor"));
    check_forbidden(
        "firebox-checkpoint",
        Dependency {
            uses_default_features: true,
            ..dependency("firebox-tensor")
        },
        "firebox-checkpoint -> firebox-tensor: its default features bring burn (hint: `default-features = false`)",
    );
    check_forbidden(
        "firebox-checkpoint",
        Dependency {
            features: vec!["cpu".to_owned()],
            ..dependency("firebox-tensor")
        },
        "firebox-checkpoint -> firebox-tensor: its feature `cpu` brings burn",
    );
}

#[test]
fn a_crate_without_a_place_is_met_with_where_to_give_it_one() {
    let faults = faults_of(&package("firebox-new", Vec::new()));
    assert!(
        faults[0].ends_with("give it a place in xtask/src/layers.rs)"),
        "{faults:?}"
    );
}

#[test]
fn nobody_uses_a_tool() {
    check_forbidden(
        "firebox",
        dependency("firebox-tests"),
        "firebox -> firebox-tests: a tool is used by nobody",
    );
}

#[test]
fn folder_and_crate_have_one_name() {
    let mut package = package("firebox-hub", Vec::new());
    package.manifest_path = PathBuf::from("/w/crates/hub/Cargo.toml");
    assert_eq!(
        faults_of(&package),
        ["firebox-hub: expected in `crates/firebox-hub`, found in `/w/crates/hub/Cargo.toml`"]
    );
}

#[test]
fn the_error_shows_the_table_and_the_arrow() {
    let metadata = Metadata {
        packages: vec![package("firebox-data", vec![dependency("firebox-model")])],
    };
    let error = check(&metadata).unwrap_err().to_string();
    assert!(error.contains("firebox-data         -> model"), "{error}");
    assert!(
        error.contains("firebox-rag          (not there yet)"),
        "{error}"
    );
    assert!(error.contains("1 of the arrows may not be:"), "{error}");
}
