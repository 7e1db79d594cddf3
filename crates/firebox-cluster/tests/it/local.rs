//! DataFusion in this process.

use std::path::Path;

use firebox_cluster::{
    ClusterError, Engine, EngineConfig, OutputFormat, RunConfig, RunReport, run_recipe,
};
use firebox_data::{BrokenLimit, DedupConfig, KeepRule, Recipe, SourceOptions, Sources};

use crate::corpus;
use crate::one_machine::{self, Expected, Written};

/// Rules that change texts, and rules that drop some.
const RECIPE: &str = r#"
version = 1
[[rule]]
kind = "nfkc"
[[rule]]
kind = "whitespace"
[[rule]]
kind = "min-words"
min = 20
[[rule]]
kind = "gopher-repetition"
[[rule]]
kind = "year-range"
from = 1992
keep_unknown = true
"#;

pub(crate) fn recipe() -> Recipe {
    Recipe::from_toml(RECIPE).unwrap()
}

pub(crate) fn run_config(input: &str, output: &str) -> RunConfig {
    RunConfig {
        dedup: Some(DedupConfig::default()),
        broken_limit: BrokenLimit {
            max_share: 0.05,
            ..BrokenLimit::default()
        },
        format: OutputFormat::Jsonl,
        ..RunConfig::new([input], output)
    }
}

/// What an output folder holds, part after part.
pub(crate) fn read_output(folder: &Path) -> Vec<Written> {
    let mut written = Vec::new();
    for block in Sources::list([folder], SourceOptions::default())
        .unwrap()
        .blocks()
    {
        let block = block.unwrap();
        written.extend(
            block
                .documents()
                .map(|document| Written::new(&document.unwrap())),
        );
    }
    written
}

/// The lines of an output folder.
fn output_lines(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

pub(crate) fn assert_counts(report: &RunReport, expected: &Expected) {
    assert_eq!(report.rules, expected.rules);
    assert_eq!(
        (report.n_records, report.n_broken, report.n_skipped),
        (expected.n_records, expected.n_broken, expected.n_skipped)
    );
    assert_eq!(
        (report.n_exact, report.n_near),
        (expected.n_exact, expected.n_near)
    );
    assert_eq!(report.n_written, expected.written.len() as u64);
}

/// The same documents; the record of one whose text was changed is another.
pub(crate) fn assert_documents(found: &[Written], expected: &[Written]) {
    let without_source = |written: &Written| Written {
        source: None,
        ..written.clone()
    };
    assert_eq!(
        found.iter().map(without_source).collect::<Vec<_>>(),
        expected.iter().map(without_source).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_and_counts_are_those_of_one_machine_with_any_number_of_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 1, 9);
    let config = DedupConfig::default();
    let expected = one_machine::run(&[&input], &recipe(), Some(&config), 5);
    // A corpus without any of these would test nothing.
    assert!(
        expected.n_broken == 9
            && expected.n_skipped > 0
            && expected.n_exact > 20
            && expected.n_near > 20
    );
    assert!(expected.rules.rules.iter().any(|rule| rule.n_changed > 20));
    assert!(
        expected
            .rules
            .rules
            .iter()
            .filter(|rule| rule.n_dropped > 0)
            .count()
            >= 2
    );
    let mut lines = Vec::new();
    for n_tasks in [1, 2, 4] {
        let output = folder.path().join(format!("out-{n_tasks}"));
        let engine = Engine::local(EngineConfig {
            n_tasks,
            ..EngineConfig::default()
        })
        .unwrap();
        let run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
        let report = run_recipe(&engine, &recipe(), &run).await.unwrap();
        assert_counts(&report, &expected);
        assert_documents(&read_output(&output), &expected.written);
        assert!(!output.join(".work").exists());
        lines.push(output_lines(&output));
    }
    let expected_lines = one_machine::lines(&expected.written, folder.path());
    assert!(lines.iter().all(|lines| *lines == expected_lines));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_or_the_newest_of_a_cluster_stays_where_the_recipe_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 2, 0);
    let engine = Engine::local(EngineConfig::default()).unwrap();
    let mut outputs = Vec::new();
    for keep in [KeepRule::First, KeepRule::Longest, KeepRule::Newest] {
        let dedup = DedupConfig {
            keep,
            ..DedupConfig::default()
        };
        let expected = one_machine::run(&[&input], &recipe(), Some(&dedup), 5);
        let output = folder.path().join(format!("out-{keep:?}"));
        let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
        run.dedup = Some(dedup);
        let report = run_recipe(&engine, &recipe(), &run).await.unwrap();
        assert_counts(&report, &expected);
        assert_documents(&read_output(&output), &expected.written);
        outputs.push(expected.written);
    }
    assert_ne!(outputs[0], outputs[1]);
    assert_ne!(outputs[0], outputs[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_holds_the_same_documents() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 3, 0);
    let expected = one_machine::run(&[&input], &recipe(), Some(&DedupConfig::default()), 5);
    let engine = Engine::local(EngineConfig::default()).unwrap();
    for format in [
        OutputFormat::JsonlGz,
        OutputFormat::JsonlZst,
        OutputFormat::Parquet,
    ] {
        let output = folder.path().join(format!("out-{format:?}"));
        let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
        run.format = format;
        run_recipe(&engine, &recipe(), &run).await.unwrap();
        if format == OutputFormat::Parquet {
            // Parquet goes round once more: in through the engine, out as lines.
            let again = folder.path().join("again");
            let run = RunConfig {
                format: OutputFormat::Jsonl,
                ..RunConfig::new([output.to_str().unwrap()], again.to_str().unwrap())
            };
            let nothing = Recipe::from_toml("version = 1").unwrap();
            let report = run_recipe(&engine, &nothing, &run).await.unwrap();
            assert_eq!(report.n_written, expected.written.len() as u64);
            assert_documents(&read_output(&again), &expected.written);
        } else {
            assert_documents(&read_output(&output), &expected.written);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_in_memory_is_spilled_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    for seed in 10..18 {
        corpus::write(&input.join(seed.to_string()), seed, 0);
    }
    let expected = one_machine::run(&[&input], &recipe(), None, 5);
    let limits = |spill_limit_bytes| EngineConfig {
        n_tasks: 2,
        memory_limit_bytes: 20 << 20,
        spill_folder: Some(folder.path().join("spill")),
        spill_limit_bytes,
        ..EngineConfig::default()
    };
    let output = folder.path().join("out");
    let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
    run.dedup = None;
    let engine = Engine::local(limits(1 << 30)).unwrap();
    let report = run_recipe(&engine, &recipe(), &run).await.unwrap();
    assert_counts(&report, &expected);
    assert_documents(&read_output(&output), &expected.written);
    // It was: with no disk, the same run fails.
    let output = folder.path().join("out-without-disk");
    let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
    run.dedup = None;
    let engine = Engine::local(limits(1)).unwrap();
    let error = run_recipe(&engine, &recipe(), &run).await.unwrap_err();
    assert!(matches!(error, ClusterError::Engine { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_broken_records_stop_the_run_with_the_first_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 5, 12);
    let engine = Engine::local(EngineConfig::default()).unwrap();
    let output = folder.path().join("out");
    let mut run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
    run.broken_limit = BrokenLimit::default();
    let error = run_recipe(&engine, &recipe(), &run).await.unwrap_err();
    let ClusterError::TooManyBroken {
        n_broken, first, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*n_broken, 12);
    assert!(first.contains("a.jsonl") && first.contains('4'), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_with_files_in_it_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    corpus::write(&input, 6, 0);
    let output = folder.path().join("out");
    std::fs::create_dir(&output).unwrap();
    std::fs::write(output.join("mine.txt"), "mine").unwrap();
    let engine = Engine::local(EngineConfig::default()).unwrap();
    let run = run_config(input.to_str().unwrap(), output.to_str().unwrap());
    let error = run_recipe(&engine, &recipe(), &run).await.unwrap_err();
    assert!(
        matches!(&error, ClusterError::OutputExists { found, .. } if found.ends_with("mine.txt")),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(&output).unwrap().count(), 1);
}
