use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{CleanError, CleanJob, CleanReport, CleanStage, clean, clean_work_folder};
use crate::Recipe;
use crate::source::{BrokenLimit, SourceOptions, Sources};

const RECIPE: &str = r#"
version = 1

[[rule]]
kind = "whitespace"

[[rule]]
kind = "min-words"
min = 8

[dedup]
"#;

/// Texts of different words, every seventh one a near copy of an earlier one, every eleventh one short,
/// every hundredth line broken.
fn corpus(folder: &Path, n: usize) -> Vec<PathBuf> {
    let text = |i: usize| {
        (0..40).fold(String::new(), |mut text, k| {
            let _ = write!(text, "w{} ", (i * 7919 + k * k * 31) % 5003);
            text
        })
    };
    let line = |i: usize| match i {
        _ if i % 100 == 99 => "{\"text\": ".to_owned(),
        _ if i % 11 == 10 => format!("{{\"id\": {i}, \"text\": \"too short\", \"more\": [1, 2]}}"),
        _ if i % 7 == 6 => format!("{{\"text\": \"{} end\", \"id\": {i}}}", text(i / 7 * 3)),
        _ => format!(
            "{{\"id\": {i}, \"text\": \"{}\", \"more\": {{\"a\": null}}}}",
            text(i)
        ),
    };
    (0..2)
        .map(|file| {
            let path = folder.join(format!("part{file}.jsonl"));
            let lines: String = (0..n).map(|i| line(file * n + i) + "\n").collect();
            fs::write(&path, lines).unwrap();
            path
        })
        .collect()
}

struct Case {
    _folder: tempfile::TempDir,
    recipe: Recipe,
    sources: Sources,
    output: PathBuf,
}

impl Case {
    /// Small blocks, so that there are several parts.
    fn new(recipe: &str, output: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SourceOptions {
            block_bytes: 4 << 10,
            ..SourceOptions::default()
        };
        let files = corpus(folder.path(), 1500);
        Self {
            recipe: Recipe::from_toml(recipe).unwrap(),
            sources: Sources::list(&files, options).unwrap(),
            output: folder.path().join(output),
            _folder: folder,
        }
    }

    /// Stops after so many blocks.
    fn run(&self, n_threads: usize, n_blocks: usize) -> Result<CleanReport, CleanError> {
        let job = CleanJob {
            recipe: &self.recipe,
            sources: &self.sources,
            broken: BrokenLimit {
                max_share: 0.02,
                ..BrokenLimit::default()
            },
            output: &self.output,
            n_threads,
        };
        let mut calls = 0..n_blocks;
        clean(&job, |so_far| {
            if so_far.stage == CleanStage::Reading && calls.next().is_none() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    fn output(&self) -> Vec<u8> {
        fs::read(&self.output).unwrap()
    }
}

#[test]
fn threads_and_interruptions_change_nothing() {
    for (output, recipe) in [
        ("a.jsonl", RECIPE),
        ("a.jsonl.zst", RECIPE),
        ("a.jsonl.gz", &RECIPE.replace("[dedup]", "")),
    ] {
        let case = Case::new(recipe, output);
        let report = case.run(1, usize::MAX).unwrap();
        let expected = case.output();
        assert_eq!(case.run(3, usize::MAX).unwrap(), report, "{output}");
        assert_eq!(case.output(), expected, "{output}");
        fs::remove_file(&case.output).unwrap();
        let mut n_stops = 0;
        let resumed = loop {
            match case.run(2, 37) {
                Ok(report) => break report,
                Err(CleanError::Stopped { .. }) => n_stops += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(n_stops > 2, "{output}: {n_stops}");
        assert_eq!(resumed, report, "{output}");
        assert_eq!(case.output(), expected, "{output}");
        assert!(!clean_work_folder(&case.output).exists());
    }
}

#[test]
fn every_record_is_accounted_for_and_kept_lines_are_those_that_were_read() {
    let case = Case::new(RECIPE, "a.jsonl");
    let report = case.run(2, usize::MAX).unwrap();
    assert_eq!((report.n_records, report.n_broken), (3000, 30));
    assert!(
        report.broken[0].contains("line 100"),
        "{}",
        report.broken[0]
    );
    assert_eq!(report.rules.n_documents, 2970);
    let n_short = (0..3000).filter(|i| i % 100 != 99 && i % 11 == 10).count() as u64;
    assert_eq!(report.rules.rules[1].n_dropped, n_short);
    let dedup = report.dedup.unwrap();
    assert_eq!(dedup.n_documents, report.rules.n_kept);
    assert_eq!(dedup.n_kept, report.n_written);
    assert!(dedup.n_near > 200, "{}", dedup.n_near);
    let written = String::from_utf8(case.output()).unwrap();
    assert_eq!(written.lines().count() as u64, report.n_written);
    // The white space at the end of a text is taken away; the other fields stay.
    let line = written.lines().next().unwrap();
    assert!(line.starts_with("{\"id\": 0, \"text\": \"w"), "{line}");
    assert!(
        line.ends_with("\", \"more\": {\"a\": null}}") && !line.contains(" \","),
        "{line}"
    );
}

#[cfg(feature = "parquet")]
#[test]
fn a_table_holds_the_same_documents() {
    let ids = |case: &Case| {
        case.run(2, usize::MAX).unwrap();
        let written = Sources::list([&case.output], SourceOptions::default()).unwrap();
        let mut ids = Vec::new();
        for block in written.blocks() {
            let block = block.unwrap();
            let texts = block.documents().map(|document| document.unwrap());
            ids.extend(
                texts.map(|document| (document.id.map(String::from), document.text.into_owned())),
            );
        }
        ids
    };
    let (table, lines) = (Case::new(RECIPE, "a.parquet"), Case::new(RECIPE, "a.jsonl"));
    assert_eq!(ids(&table), ids(&lines));
}

#[test]
fn another_recipe_or_changed_files_do_not_go_on() {
    let case = Case::new(RECIPE, "a.jsonl");
    assert!(matches!(case.run(2, 100), Err(CleanError::Stopped { .. })));
    let other = Case {
        recipe: Recipe::from_toml(&RECIPE.replace("min = 8", "min = 9")).unwrap(),
        ..case
    };
    let error = other.run(2, usize::MAX).unwrap_err();
    assert!(matches!(error, CleanError::OtherJob { .. }), "{error}");
    assert!(error.to_string().contains("a.jsonl.work"), "{error}");
    fs::remove_dir_all(clean_work_folder(&other.output)).unwrap();
    other.run(2, usize::MAX).unwrap();
}

#[test]
fn a_part_that_was_changed_is_found() {
    let case = Case::new(RECIPE, "a.jsonl");
    assert!(matches!(case.run(2, 100), Err(CleanError::Stopped { .. })));
    let part = clean_work_folder(&case.output).join("part-00000.jsonl.zst");
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let error = case.run(2, usize::MAX).unwrap_err();
    assert!(matches!(error, CleanError::Damaged { .. }), "{error}");
}

#[test]
fn too_many_broken_records_end_it_with_the_first_one_named() {
    let case = Case::new(RECIPE, "a.jsonl");
    let job = CleanJob {
        recipe: &case.recipe,
        sources: &case.sources,
        broken: BrokenLimit::default(),
        output: &case.output,
        n_threads: 2,
    };
    // 1 % is allowed, and exactly 1 % is broken.
    clean(&job, |_| ControlFlow::Continue(())).unwrap();
    let strict = CleanJob {
        broken: BrokenLimit {
            max_count: Some(3),
            ..BrokenLimit::default()
        },
        ..job
    };
    let error = clean(&strict, |_| ControlFlow::Continue(()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("part0.jsonl") && error.contains("line 100"),
        "{error}"
    );
}
