//! `firebox data` and `firebox tokenizer` as their user meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn firebox(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_firebox"))
        .args(args)
        .output()
        .expect("firebox runs")
}

#[track_caller]
fn json_of(args: &[&str]) -> Value {
    let output = firebox(&[&["--json"], args].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "firebox {args:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("one JSON object on stdout")
}

#[track_caller]
fn error_of(args: &[&str]) -> String {
    let output = firebox(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "firebox {args:?}: {errors}");
    assert!(output.stdout.is_empty());
    errors
}

/// Sentences that differ, some of them twice, some short, one line broken.
fn corpus(folder: &Path, n: usize) -> PathBuf {
    let subjects = [
        "The heart",
        "A kidney",
        "The liver",
        "One lung",
        "Each nerve",
    ];
    let verbs = ["moves", "cleans", "stores", "carries", "feels"];
    let mut lines = String::new();
    for i in 0..n {
        let text = match i % 10 {
            9 => "Too short.".to_owned(),
            7 => format!(
                "{} {} what group {} brings, slowly and every day.",
                subjects[0],
                verbs[1],
                i / 20
            ),
            _ => format!(
                "{} {} what number {i} brings, slowly and every day.",
                subjects[i % 5],
                verbs[i / 5 % 5]
            ),
        };
        let _ = writeln!(
            lines,
            "{{\"id\": \"d{i}\", \"text\": \"{text}\", \"year\": {}}}",
            1970 + i % 30
        );
    }
    lines.push_str("{\"text\": \n");
    let path = folder.join("corpus.jsonl");
    fs::write(&path, lines).unwrap();
    path
}

const RECIPE: &str =
    "version = 1\n[[rule]]\nkind = \"min-words\"\nmin = 5\n[dedup]\nfind = \"exact\"\n";

#[test]
fn a_corpus_is_cleaned_with_a_report_and_the_same_on_any_threads() {
    let folder = TempDir::new().unwrap();
    let (data, recipe) = (
        corpus(folder.path(), 500),
        folder.path().join("recipe.toml"),
    );
    fs::write(&recipe, RECIPE).unwrap();
    let run = |threads: &str, name: &str| {
        let out = folder.path().join(name);
        let args = [
            "data",
            "clean",
            data.to_str().unwrap(),
            "--recipe",
            recipe.to_str().unwrap(),
        ];
        let report = json_of(
            &[
                &args[..],
                &["--out", out.to_str().unwrap(), "--threads", threads],
            ]
            .concat(),
        );
        (report, fs::read(&out).unwrap())
    };
    let (report, one) = run("1", "one.jsonl");
    let (_, two) = run("2", "two.jsonl");
    assert_eq!(one, two);
    assert_eq!(
        (&report["n_records"], &report["n_broken"]),
        (&501.into(), &1.into())
    );
    assert_eq!(report["rules"]["rules"][0]["n_dropped"], 50);
    let n_exact = report["dedup"]["n_exact"].as_u64().unwrap();
    assert_eq!(n_exact, 25, "{report}");
    assert_eq!(report["n_written"], 450 - n_exact);
    let page = fs::read_to_string(folder.path().join("one.jsonl.report.html")).unwrap();
    assert!(page.contains("min-words") && page.contains("equal texts"));
    let saved = fs::read(folder.path().join("one.jsonl.report.json")).unwrap();
    let saved: Value = serde_json::from_slice(&saved).unwrap();
    assert_eq!(saved["rules"], report["rules"]);
}

#[test]
fn a_clean_that_was_killed_goes_on_and_ends_the_same() {
    let folder = TempDir::new().unwrap();
    let (data, recipe) = (
        corpus(folder.path(), 300_000),
        folder.path().join("recipe.toml"),
    );
    fs::write(&recipe, RECIPE).unwrap();
    let args = |out: &Path| {
        let paths = [data.as_path(), &recipe, out].map(|path| path.to_str().unwrap().to_owned());
        let [data, recipe, out] = paths;
        ["data", "clean", &data, "--recipe", &recipe, "--out", &out].map(str::to_owned)
    };
    let (whole, killed) = (
        folder.path().join("whole.jsonl.zst"),
        folder.path().join("killed.jsonl.zst"),
    );
    let run = |out: &Path| firebox(&args(out).each_ref().map(String::as_str));
    assert!(run(&whole).status.success());
    // Killed at moments that differ; each run goes on behind the last whole part.
    for wait in [30, 60, 90, 120] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_firebox"))
            .args(args(&killed))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = run(&killed);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&killed).unwrap());
    assert!(!folder.path().join("killed.jsonl.zst.work").exists());
}

#[test]
fn documents_are_shown_rule_by_rule() {
    let folder = TempDir::new().unwrap();
    let (data, recipe) = (corpus(folder.path(), 20), folder.path().join("recipe.toml"));
    fs::write(&recipe, RECIPE).unwrap();
    let args = [
        "data",
        "inspect",
        data.to_str().unwrap(),
        "--recipe",
        recipe.to_str().unwrap(),
    ];
    let shown = json_of(&[&args[..], &["--dropped", "--n", "1"]].concat());
    let document = &shown["documents"][0];
    assert_eq!(
        (&document["id"], &document["language"]),
        (&"d9".into(), &"en".into())
    );
    assert_eq!(document["rules"][0]["keeps"], false);
    let text = String::from_utf8(firebox(&args).stdout).unwrap();
    assert!(text.contains("keeps min-words: words 11"), "{text}");
    let error = error_of(&[&args[..], &["--id", "none"]].concat());
    assert!(error.contains("find document `none`"), "{error}");
}

#[test]
fn duplicates_are_left_out_and_corpora_counted() {
    let folder = TempDir::new().unwrap();
    let data = corpus(folder.path(), 200);
    let out = folder.path().join("unique.jsonl");
    let (data, unique) = (data.to_str().unwrap(), out.to_str().unwrap());
    let report = json_of(&["data", "dedup", data, "--out", unique, "--find", "exact"]);
    assert_eq!(
        report["n_written"],
        fs::read_to_string(&out).unwrap().lines().count()
    );
    // The short ones are all one document.
    assert_eq!(report["dedup"]["n_exact"], 19 + 10);
    let counted = json_of(&["data", "stats", unique]);
    assert_eq!(counted["n_documents"], report["n_written"]);
    assert_eq!(counted["years"]["1970"].as_u64(), Some(7));
}

#[test]
fn a_tokenizer_is_trained_compared_and_used_to_pack() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = corpus(folder.path(), 400);
    let lines = fs::read_to_string(&data).unwrap();
    let whole: Vec<&str> = lines.lines().take(400).collect();
    fs::write(&data, whole.join("\n")).unwrap();
    let data = data.to_str().unwrap();
    let trained = json_of(&[
        "tokenizer",
        "train",
        data,
        "--vocab-size",
        "300",
        "--out",
        &path("bpe.json"),
    ]);
    assert_eq!(
        (&trained["vocab_size"], &trained["n_texts"]),
        (&300.into(), &400.into())
    );
    json_of(&[
        "tokenizer",
        "train",
        data,
        "--kind",
        "unigram",
        "--vocab-size",
        "200",
        "--out",
        &path("unigram.json"),
    ]);
    let (first, second) = (
        format!("bpe={}", path("bpe.json")),
        format!("unigram={}", path("unigram.json")),
    );
    let compared = json_of(&[
        "tokenizer",
        "compare",
        data,
        "--tokenizer",
        &first,
        "--tokenizer",
        &second,
        "--steps",
        "2",
    ]);
    let rows = compared["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row["bits_per_byte"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["bytes_per_token"].as_f64().unwrap() > 1.0, "{row}");
    }
    assert_eq!(rows[0]["exact_round_trips"], 1.0);
    let packed = json_of(&[
        "data",
        "pack",
        data,
        "--tokenizer",
        &path("bpe.json"),
        "--seq",
        "64",
        "--out",
        &path("shards"),
    ]);
    assert_eq!(packed["n_documents"], 400);
    assert!(packed["padding_share"].as_f64() < packed["padding_share_unpacked"].as_f64());
    assert!(fs::read_dir(path("shards")).unwrap().count() >= 2);
}

#[test]
fn mistakes_are_explained() {
    let folder = TempDir::new().unwrap();
    let data = corpus(folder.path(), 20);
    let recipe = folder.path().join("recipe.toml");
    fs::write(&recipe, "version = 1\n[[rule]]\nkind = \"min-wrods\"\n").unwrap();
    let (data, recipe) = (data.to_str().unwrap(), recipe.to_str().unwrap());
    let out = folder.path().join("out.jsonl");
    let out = out.to_str().unwrap();
    let error = error_of(&["data", "clean", data, "--recipe", recipe, "--out", out]);
    assert!(
        error.contains("min-words") && error.contains("recipe.toml"),
        "{error}"
    );
    let error = error_of(&["data", "dedup", data, "--out", out]);
    assert!(
        error.contains("corpus.jsonl") && error.contains("line 21"),
        "{error}"
    );
    let error = error_of(&[
        "data",
        "dedup",
        data,
        "--out",
        "out.docx",
        "--max-broken-share",
        "1",
    ]);
    assert!(error.contains("out.docx"), "{error}");
    let error = error_of(&["data", "stats"]);
    assert!(error.contains("expected files"), "{error}");
}
