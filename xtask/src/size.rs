//! How long files and functions are.

mod source;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use source::{Function, count_lines, long_functions};

/// A file past this length, its tests left out, fails the check: split it where its concepts part.
const MAX_FILE_LINES: usize = 600;

/// A file past this length is marked: look at it again.
const MARKED_FILE_LINES: usize = 400;

/// Functions past this length are listed. Clippy's `too_many_lines` is what fails them.
const MAX_FUNCTION_LINES: usize = 80;

/// How many of the longest files are shown.
const N_SHOWN: usize = 20;

/// Folders of Rust code in the workspace.
const SOURCE_FOLDERS: &[&str] = &["benches", "crates", "docs", "fuzz", "tests", "xtask"];

/// Folders whose code nobody wrote by hand.
const SKIPPED_FOLDERS: &[&str] = &["generated", "target"];

/// One file and what was counted in it.
struct Measured {
    path: PathBuf,
    n_lines: usize,
    functions: Vec<Function>,
}

/// The table, or an error with the table where a file is too long.
pub(crate) fn check(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for folder in SOURCE_FOLDERS {
        collect(&root.join(folder), root, &mut files)?;
    }
    files.sort_by(|a, b| b.n_lines.cmp(&a.n_lines).then_with(|| a.path.cmp(&b.path)));
    let table = table(&files);
    let too_long: Vec<String> = files
        .iter()
        .filter(|file| file.n_lines > MAX_FILE_LINES)
        .map(|file| {
            format!(
                "{}: expected at most {MAX_FILE_LINES} lines, found {} (hint: one concept a file)",
                file.path.display(),
                file.n_lines
            )
        })
        .collect();
    if too_long.is_empty() {
        return Ok(table);
    }
    bail!("{table}\n{}", too_long.join("\n"))
}

/// Measures the Rust files below `folder`, leaving out test files.
fn collect(folder: &Path, root: &Path, files: &mut Vec<Measured>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("list `{}`", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list `{}`", folder.display()))?
            .path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !name.starts_with('.') && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            collect(&path, root, files)?;
        }
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if name.ends_with(".rs") && path.is_file() && !is_test_file(relative) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
            files.push(Measured {
                path: relative.to_owned(),
                n_lines: count_lines(&text),
                functions: long_functions(&text, MAX_FUNCTION_LINES),
            });
        }
    }
    Ok(())
}

/// `foo/tests.rs`, and everything under a folder called `tests`.
fn is_test_file(relative: &Path) -> bool {
    relative.file_name().is_some_and(|name| name == "tests.rs")
        || relative
            .components()
            .any(|part| part.as_os_str() == "tests")
}

/// The longest files, a line of totals, and the long functions. `files` is sorted, longest first.
fn table(files: &[Measured]) -> String {
    let mut text = String::from("lines  file (tests left out)\n");
    for file in files.iter().take(N_SHOWN) {
        let mark = if file.n_lines > MARKED_FILE_LINES {
            "  <- look again"
        } else {
            ""
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:>5}  {}{mark}", file.n_lines, file.path.display());
    }
    let total: usize = files.iter().map(|file| file.n_lines).sum();
    let nth = |fraction: usize| {
        files
            .get(files.len() * fraction / 100)
            .map_or(0, |f| f.n_lines)
    };
    let _ = writeln!(
        text,
        "{total:>5}  in {} files; median {}, longest tenth from {}",
        files.len(),
        nth(50),
        nth(10)
    );
    for file in files {
        for function in &file.functions {
            let _ = writeln!(
                text,
                "{:>5}  fn {} in {}:{}",
                function.n_lines,
                function.name,
                file.path.display(),
                function.first_line
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(files: &[(&str, usize)]) -> PathBuf {
        // One folder a test: the names in it tell them apart.
        let root =
            std::env::temp_dir().join(format!("xtask-size-{}-{}", std::process::id(), files[0].1));
        for (path, n_lines) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "// line\n".repeat(*n_lines)).unwrap();
        }
        root
    }

    #[test]
    fn a_file_past_the_limit_fails_and_is_named() {
        let root = workspace(&[
            ("crates/a/src/long.rs", 601),
            ("crates/a/src/short.rs", 600),
        ]);
        let error = check(&root).unwrap_err().to_string();
        fs::remove_dir_all(root).unwrap();
        assert!(
            error.ends_with("crates/a/src/long.rs: expected at most 600 lines, found 601 (hint: one concept a file)"),
            "{error}"
        );
    }

    #[test]
    fn tests_and_generated_code_may_be_long() {
        let root = workspace(&[
            ("crates/a/src/lib.rs", 10),
            ("crates/a/src/foo/tests.rs", 1000),
            ("tests/it/main.rs", 1001),
            ("crates/a/src/generated/table.rs", 1002),
        ]);
        let table = check(&root).unwrap();
        fs::remove_dir_all(root).unwrap();
        assert!(table.contains("   10  in 1 files; median 10"), "{table}");
    }
}
