//! Arrows point down only.
//!
//! A crate may depend on crates of lower rows; crates of one row do not know each other. The tables
//! below are the whole rule; ARCHITECTURE.md says why.

use anyhow::{Result, bail};

use crate::metadata::{Dependency, Metadata, Package};

#[cfg(test)]
mod tests;

/// The layers, from the top. Crates that do not exist yet already have their place.
const LAYERS: &[&[&str]] = &[
    &["firebox"],
    &["firebox-rag", "firebox-serve"],
    &["firebox-train"],
    &["firebox-quant", "firebox-eval"],
    &["firebox-engine"],
    &["firebox-model"],
    &["firebox-checkpoint"],
    &["firebox-tensor"],
    &["firebox-cluster"],
    &["firebox-data"],
    &[
        "firebox-tune",
        "firebox-track",
        "firebox-rules",
        "firebox-hub",
    ],
];

/// Members beside the layers: they may use every crate, and no crate uses them.
const TOOLS: &[&str] = &["firebox-benches", "firebox-tests", "xtask"];

/// External crates that only some of ours may depend on outside their tests.
const RESERVED: &[Reserved] = &[
    Reserved {
        what: &["tokio", "tokio-stream", "tokio-util"],
        users: &["firebox", "firebox-serve", "firebox-hub", "firebox-cluster"],
        why: "libraries are synchronous; only what talks to a network is not",
    },
    Reserved {
        what: &[
            "axum",
            "http-body-util",
            "hyper",
            "hyper-util",
            "tower",
            "tower-http",
            "utoipa",
        ],
        users: &["firebox-serve"],
        why: "only the server knows HTTP",
    },
    Reserved {
        what: &[
            "ballista",
            "ballista-core",
            "ballista-executor",
            "ballista-scheduler",
            "datafusion",
            "datafusion-proto",
            "object_store",
        ],
        users: &["firebox-cluster"],
        why: "a query engine is too heavy for anything else",
    },
    Reserved {
        what: &["safetensors"],
        users: &["firebox-checkpoint"],
        why: "weight files are opened in one place",
    },
    Reserved {
        what: &["hf-hub", "ureq", "reqwest"],
        users: &["firebox-hub"],
        why: "downloads happen in one place",
    },
    Reserved {
        what: &[
            "anyhow",
            "clap",
            "comfy-table",
            "indicatif",
            "tracing-subscriber",
        ],
        users: &["firebox"],
        why: "libraries have typed errors and print nothing",
    },
];

/// Crates that know nothing of tensors, and so must be usable without burn.
const WITHOUT_BURN: &[&str] = &[
    "firebox-checkpoint",
    "firebox-cluster",
    "firebox-data",
    "firebox-hub",
    "firebox-rules",
    "firebox-track",
    "firebox-tune",
];

/// Features of `firebox-tensor` that bring burn.
const BURN_FEATURES: &[&str] = &["burn", "cpu", "cuda", "default", "tch", "vulkan", "wgpu"];

/// External crates with their only users.
struct Reserved {
    what: &'static [&'static str],
    users: &'static [&'static str],
    why: &'static str,
}

/// The table of what is there, or an error that lists each arrow that may not be.
pub(crate) fn check(metadata: &Metadata) -> Result<String> {
    let faults: Vec<String> = metadata.packages.iter().flat_map(faults_of).collect();
    let table = table(metadata);
    if faults.is_empty() {
        return Ok(format!("{table}\nall arrows point down"));
    }
    bail!(
        "{table}\n{} of the arrows may not be:\n  {}",
        faults.len(),
        faults.join("\n  ")
    )
}

/// One line a layer: which crates, and which of ours each uses.
fn table(metadata: &Metadata) -> String {
    let mut lines = Vec::new();
    for layer in LAYERS {
        for name in *layer {
            let found = metadata
                .packages
                .iter()
                .find(|package| package.name == *name);
            let uses = match found {
                None => "(not there yet)".to_owned(),
                Some(package) => used_crates(package),
            };
            lines.push(format!("{name:<20} {uses}"));
        }
        lines.push("-".repeat(60));
    }
    lines.join("\n")
}

fn used_crates(package: &Package) -> String {
    let mut names: Vec<&str> = package
        .dependencies
        .iter()
        .filter(|dependency| !dependency.is_dev() && is_ours(&dependency.name))
        .map(|dependency| dependency.name.trim_start_matches("firebox-"))
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        String::new()
    } else {
        format!("-> {}", names.join(" "))
    }
}

fn faults_of(package: &Package) -> Vec<String> {
    if TOOLS.contains(&package.name.as_str()) {
        return Vec::new();
    }
    let Some(layer) = layer_of(&package.name) else {
        return vec![format!(
            "{}: expected a crate of the table, found one without a layer (hint: give it a place in xtask/src/layers.rs)",
            package.name
        )];
    };
    let mut faults: Vec<String> = package
        .dependencies
        .iter()
        .filter_map(|dependency| fault_of(package, layer, dependency))
        .collect();
    if !package
        .manifest_path
        .ends_with(format!("crates/{0}/Cargo.toml", package.name))
    {
        faults.push(format!(
            "{}: expected in `crates/{0}`, found in `{}`",
            package.name,
            package.manifest_path.display()
        ));
    }
    faults
}

fn fault_of(package: &Package, layer: usize, dependency: &Dependency) -> Option<String> {
    let (from, to) = (package.name.as_str(), dependency.name.as_str());
    let arrow = format!("{from} -> {to}");
    if TOOLS.contains(&to) {
        return Some(format!("{arrow}: a tool is used by nobody"));
    }
    if let Some(target) = layer_of(to) {
        // Rows are numbered from the top. A crate that names itself in its tests asks for a feature.
        let points_down = target > layer || (from == to && dependency.is_dev());
        return (!points_down)
            .then(|| {
                format!(
                    "{arrow}: {to} is in {} layer",
                    if target == layer {
                        "the same"
                    } else {
                        "a higher"
                    }
                )
            })
            .or_else(|| hidden_burn(from, dependency).map(|why| format!("{arrow}: {why}")));
    }
    if is_ours(to) {
        return Some(format!("{arrow}: {to} has no layer"));
    }
    if dependency.is_dev() {
        return None;
    }
    if WITHOUT_BURN.contains(&from) && (to == "burn" || to.starts_with("burn-")) {
        return Some(format!(
            "{arrow}: {from} knows nothing of tensors and must build without burn"
        ));
    }
    RESERVED
        .iter()
        .find(|reserved| reserved.what.contains(&to) && !reserved.users.contains(&from))
        .map(|reserved| {
            format!(
                "{arrow}: only {} may, because {}",
                reserved.users.join(", "),
                reserved.why
            )
        })
}

/// Why this use of `firebox-tensor` would bring burn to a crate that must do without.
fn hidden_burn(from: &str, dependency: &Dependency) -> Option<String> {
    if !WITHOUT_BURN.contains(&from) || dependency.name != "firebox-tensor" || dependency.is_dev() {
        return None;
    }
    if dependency.uses_default_features {
        return Some(
            "its default features bring burn (hint: `default-features = false`)".to_owned(),
        );
    }
    let feature = dependency
        .features
        .iter()
        .find(|name| BURN_FEATURES.contains(&name.as_str()))?;
    Some(format!("its feature `{feature}` brings burn"))
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn is_ours(name: &str) -> bool {
    name == "firebox" || name.starts_with("firebox-")
}
