//! From a path, a directory or a glob to the files it means.

use std::path::{Path, PathBuf};

use crate::DataError;

/// How deep directories are followed; a cycle of mounts ends there.
const MAX_DEPTH: usize = 32;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jsonl,
    Medline,
    Text,
}

/// The format by the file's name, and whether it is compressed with gzip.
pub(super) fn format_of(path: &Path) -> Result<(Format, bool), DataError> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let (name, is_gzip) = match name.strip_suffix(".gz") {
        Some(stem) => (stem.to_string(), true),
        None => (name, false),
    };
    let format = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("jsonl" | "ndjson") => Format::Jsonl,
        Some("xml") => Format::Medline,
        Some("txt" | "md") => Format::Text,
        _ => {
            return Err(DataError::UnknownExtension {
                path: path.to_path_buf(),
            });
        }
    };
    Ok((format, is_gzip))
}

/// The data files that a path means, sorted by name.
///
/// A file is itself; a directory means the files in it and below whose names a reader knows,
/// leaving out hidden ones; anything else is a glob (`data/*.jsonl`, `corpus/**/*.xml.gz`).
///
/// # Errors
/// [`DataError::NoFiles`] if nothing is found, [`DataError::BadGlob`] if the glob does not parse,
/// [`DataError::Open`] if a folder cannot be read.
pub fn list_files(path: impl AsRef<Path>) -> Result<Vec<PathBuf>, DataError> {
    let path = path.as_ref();
    let mut files = Vec::new();
    if path.is_dir() {
        collect(path, 0, &mut files)?;
    } else if path.exists() {
        return Ok(vec![path.to_path_buf()]);
    } else {
        let pattern = path.to_string_lossy();
        let matches = glob::glob(&pattern).map_err(|source| DataError::BadGlob {
            pattern: path.to_path_buf(),
            source,
        })?;
        for found in matches {
            let found = found.map_err(|error| DataError::Open {
                path: error.path().to_path_buf(),
                source: error.into(),
            })?;
            if found.is_file() {
                files.push(found);
            }
        }
    }
    if files.is_empty() {
        return Err(DataError::NoFiles {
            pattern: path.to_path_buf(),
        });
    }
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let open_error = |source| DataError::Open {
        path: folder.to_path_buf(),
        source,
    };
    for entry in std::fs::read_dir(folder).map_err(open_error)? {
        let entry = entry.map_err(open_error)?;
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        // The entry's own type, not that of a link's target: links to folders may form cycles.
        let is_folder = entry.file_type().map_err(open_error)?.is_dir();
        if is_hidden {
            continue;
        }
        if is_folder && depth < MAX_DEPTH {
            collect(&path, depth + 1, files)?;
        } else if path.is_file() && format_of(&path).is_ok() {
            files.push(path);
        }
    }
    Ok(())
}
