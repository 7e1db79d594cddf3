//! Names of files inside a package or a repository: which are safe, which are worth keeping, which are near.

use std::path::PathBuf;

/// Endings of model files, data files and what is needed to read them.
const DATA_EXTENSIONS: &[&str] = &[
    "arrow",
    "csv",
    "gguf",
    "jinja",
    "json",
    "jsonl",
    "model",
    "ndjson",
    "nxml",
    "parquet",
    "safetensors",
    "tsv",
    "txt",
    "xml",
];

/// Endings of a compressed file; what stands before them decides.
const COMPRESSED_EXTENSIONS: &[&str] = &["bz2", "gz", "xz", "zst"];

/// Beginnings of the names of licence texts, kept because the terms should travel with the data.
const LICENCE_STEMS: &[&str] = &["COPYING", "LICENCE", "LICENSE", "NOTICE"];

/// Python's own records inside a wheel, which are no data.
const PACKAGING_FILES: &[&str] = &["entry_points.txt", "top_level.txt"];

/// Why a file name from outside was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberPathError {
    /// The name is absolute, or has a `..`, a backslash or another piece that could leave the folder.
    #[error(
        "expected a relative path of plain names, found `{name}` (hint: the file may be malicious; do not unpack it by hand)"
    )]
    Unsafe {
        /// The name as it was found.
        name: String,
    },
}

/// The relative path that `name` stands for, if it can't leave the folder it is joined to.
pub(crate) fn safe_relative_path(name: &str) -> Result<PathBuf, MemberPathError> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains(['\\', ':', '\0'])
            && !part.chars().any(char::is_control)
    };
    if name.split('/').all(is_plain) {
        Ok(name.split('/').collect())
    } else {
        Err(MemberPathError::Unsafe {
            name: name.to_owned(),
        })
    }
}

/// True for model and data files, false for code, documentation and packaging records.
pub(crate) fn is_data(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    if base.starts_with('.') || PACKAGING_FILES.contains(&base) {
        return false;
    }
    let mut extension = Extensions::of(base);
    let Some(mut last) = extension.take() else {
        return false;
    };
    if is_part_number(&last) || COMPRESSED_EXTENSIONS.contains(&last.as_str()) {
        let Some(before) = extension.take() else {
            return false;
        };
        last = before;
    }
    DATA_EXTENSIONS.contains(&last.as_str())
}

/// True for the licence texts that travel with the data.
pub(crate) fn is_licence(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name).to_uppercase();
    let is_code = [".PY", ".PYC", ".SO", ".DLL", ".DYLIB"]
        .iter()
        .any(|end| base.ends_with(end));
    !is_code && LICENCE_STEMS.iter().any(|stem| base.starts_with(stem))
}

/// Up to five of `names` that look most like `wanted`, best first.
pub(crate) fn near_names<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .collect();
    scored.sort_unstable();
    scored
        .into_iter()
        .take(5)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Walks the endings of a base name from the last to the first.
struct Extensions<'a>(&'a str);

impl<'a> Extensions<'a> {
    fn of(base: &'a str) -> Self {
        Self(base)
    }

    fn take(&mut self) -> Option<String> {
        let (stem, extension) = self.0.rsplit_once('.')?;
        self.0 = stem;
        (!stem.is_empty()).then(|| extension.to_lowercase())
    }
}

/// `part00`, `part1`: a slice of a file too big for one package.
fn is_part_number(extension: &str) -> bool {
    extension
        .strip_prefix("part")
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Edit distance in which leaving a folder away is cheap: `x.gz` is near `data/x.gz`.
fn distance(wanted: &str, name: &str) -> usize {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let whole = edit_distance(&wanted.to_lowercase(), &name.to_lowercase());
    whole.min(edit_distance(&base(wanted), &base(name)) + 1)
}

/// Levenshtein's distance, in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, left_char) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, right_char) in right.iter().enumerate() {
            let substituted = previous[column] + usize::from(left_char != *right_char);
            current.push(
                substituted
                    .min(previous[column + 1] + 1)
                    .min(current[column] + 1),
            );
        }
        previous = current;
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_their_folder_are_refused() {
        for name in [
            "../x.txt",
            "a/../../x",
            "/etc/passwd",
            "a//b",
            "",
            ".",
            "a\\..\\b",
            "C:x",
            "a/\0b",
            "a\nb",
        ] {
            assert!(safe_relative_path(name).is_err(), "{name:?} was taken");
        }
        assert_eq!(
            safe_relative_path("data/x..y.gz"),
            Ok(PathBuf::from("data/x..y.gz"))
        );
    }

    #[test]
    fn models_and_data_are_kept_and_code_is_not() {
        for name in [
            "p/SmolLM2-135M-Instruct.Q4_1.gguf",
            "data/pubmed20n0014.xml.gz",
            "m/model-00001-of-00002.safetensors",
            "m/tokenizer.model",
            "m/vocab.TXT",
            "x.gguf.part00",
        ] {
            assert!(is_data(name), "{name} was dropped");
        }
        for name in [
            "p/__init__.py",
            "p/_core.so",
            "p/setup.py.gz",
            "p-1.dist-info/top_level.txt",
            "p/.hidden.json",
            "p/archive.gz",
            "p/pytorch_model.bin",
            "json",
            "README.md",
        ] {
            assert!(!is_data(name), "{name} was kept");
        }
    }

    #[test]
    fn licences_are_kept_unless_they_are_code() {
        assert!(is_licence("p-1.dist-info/licenses/LICENSE"));
        assert!(is_licence("p/NOTICE.md"));
        assert!(!is_licence("p/license.py"));
    }

    #[test]
    fn the_nearest_name_comes_first_even_without_its_folder() {
        let names = [
            "docs/index.txt",
            "data/pubmed21n1298.xml.gz",
            "data/pubmed20n0014.xml.gz",
        ];
        assert_eq!(
            near_names("pubmed20n0014.xml", names)[0],
            "data/pubmed20n0014.xml.gz"
        );
    }
}
