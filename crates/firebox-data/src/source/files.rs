//! From paths, directories and globs to the files they mean.

use std::path::{Path, PathBuf};

use super::{Format, SourceError};

/// How deep directories are followed; a cycle of mounts ends there.
const MAX_DEPTH: usize = 32;

/// The name of standard input.
pub(crate) const STDIN: &str = "-";

/// The data files that a path means, sorted by name.
///
/// A file is itself, and `-` standard input; a directory means the files in it and below that are
/// `known` by their names, leaving out hidden ones; anything else is a glob (`data/*.jsonl`,
/// `corpus/**/*.xml.gz`).
pub(crate) fn files_of(
    path: &Path,
    known: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, SourceError> {
    if path == Path::new(STDIN) {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        collect(path, 0, known, &mut files)?;
    } else if path.exists() {
        return Ok(vec![path.to_path_buf()]);
    } else {
        let pattern = path.to_string_lossy();
        let matches = glob::glob(&pattern).map_err(|source| SourceError::BadGlob {
            pattern: path.to_path_buf(),
            source,
        })?;
        for found in matches {
            let found = found.map_err(|error| SourceError::Open {
                path: error.path().to_path_buf(),
                source: error.into(),
            })?;
            if found.is_file() {
                files.push(found);
            }
        }
    }
    if files.is_empty() {
        return Err(SourceError::NoFiles {
            pattern: path.to_path_buf(),
        });
    }
    files.sort();
    Ok(files)
}

/// Whether a name says its format.
pub(crate) fn is_known(path: &Path) -> bool {
    Format::from_name(path).is_some()
}

fn collect(
    folder: &Path,
    depth: usize,
    known: &dyn Fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), SourceError> {
    let open_error = |source| SourceError::Open {
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
            collect(&path, depth + 1, known, files)?;
        } else if path.is_file() && known(&path) {
            files.push(path);
        }
    }
    Ok(())
}
