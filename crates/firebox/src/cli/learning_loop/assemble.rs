//! From what a round measured to the report.

use firebox_tensor::burn::tensor::Device;
use firebox_tensor::{DeviceChoice, cpu, memory};
use serde_json::json;

use crate::loop_report::{Answer, Artifacts, Environment, LoopReport, Sample};

use super::super::args::{Globals, LoopArgs};
use super::round::Results;
use super::run::Run;

pub(super) fn report(
    globals: &Globals,
    args: &LoopArgs,
    run: Run<'_>,
    results: Results,
) -> LoopReport {
    let folder = run.folder;
    let path = |name: &str| Some(folder.path().join(name).display().to_string());
    let embedded = "embedded in the binary".to_owned();
    LoopReport {
        version: 1,
        run_id: folder.id().to_owned(),
        title: results.title.clone(),
        started_at: folder.started_at(),
        model: args
            .model
            .clone()
            .unwrap_or_else(|| "a small decoder, trained here from scratch".into()),
        data: args.data.clone().unwrap_or(embedded),
        stages: run.stages,
        curves: run.curves,
        samples: samples(&results),
        artifacts: Artifacts {
            model: path("merged"),
            adapter: path("adapter"),
            quantized: path("nf4"),
        },
        environment: environment(globals, run.device),
        seed: args.training.seed,
        config: json!({
            "base": results.base_name,
            "training": results.training,
            "lora": results.lora,
            "scored": results.scored_what,
        }),
        quality: results
            .versions
            .into_iter()
            .map(|version| version.quality)
            .collect(),
    }
}

fn samples(results: &Results) -> Vec<Sample> {
    let questions = results.questions.iter().enumerate();
    questions
        .map(|(i, question)| Sample {
            question: question
                .messages
                .last()
                .map_or_else(String::new, |m| m.content.clone()),
            expected: question.expected.clone(),
            answers: results
                .versions
                .iter()
                .map(|version| Answer {
                    name: version.quality.name.clone(),
                    text: version.answers[i].clone(),
                })
                .collect(),
        })
        .collect()
}

fn environment(globals: &Globals, device: &Device) -> Environment {
    Environment {
        device: match globals.device {
            DeviceChoice::Auto => format!("{device:?}"),
            chosen => chosen.to_string(),
        },
        simd: cpu::simd_level().to_owned(),
        n_threads: rayon::current_num_threads(),
        memory_bytes: memory::system().total_bytes,
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        versions: vec![("firebox".into(), env!("CARGO_PKG_VERSION").into())],
    }
}
