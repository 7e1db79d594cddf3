//! Which files are read, and how.

use std::path::{Path, PathBuf};

use super::files::{STDIN, files_of, is_known};
use super::{Blocks, Format, SourceError, SourceOptions};

/// Files to read, in the order in which they are read.
#[derive(Debug, Clone)]
pub struct Sources {
    files: Vec<PathBuf>,
    options: SourceOptions,
}

impl Sources {
    /// Finds the files that paths mean.
    ///
    /// A file is itself, `-` is standard input; a directory means the files in it and below, leaving
    /// out hidden ones and those whose names say no format (unless the options do); anything else
    /// is a glob (`data/*.jsonl`, `corpus/**/*.xml.gz`). Paths keep their order, and the files of
    /// one are sorted by name.
    ///
    /// # Errors
    /// [`SourceError::NoFiles`], [`SourceError::BadGlob`], [`SourceError::UnknownExtension`], or
    /// [`SourceError::Open`] for a folder.
    ///
    /// # Examples
    /// ```
    /// use firebox_data::{SourceOptions, Sources};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("notes.jsonl");
    /// std::fs::write(&path, "{\"text\": \"Aspirin relieves pain.\"}\n{\"text\": ")?;
    /// let sources = Sources::list([&path], SourceOptions::default())?;
    /// let (mut n_documents, mut n_broken) = (0, 0);
    /// for block in sources.blocks() {
    ///     for document in block?.documents() {
    ///         match document {
    ///             Ok(_) => n_documents += 1,
    ///             Err(_) => n_broken += 1,
    ///         }
    ///     }
    /// }
    /// assert_eq!((n_documents, n_broken), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn list(
        paths: impl IntoIterator<Item = impl AsRef<Path>>,
        options: SourceOptions,
    ) -> Result<Self, SourceError> {
        let is_forced = options.format.is_some();
        let mut files = Vec::new();
        for path in paths {
            files.extend(files_of(path.as_ref(), &|file| {
                is_forced || is_known(file)
            })?);
        }
        for file in files.iter().filter(|file| *file != Path::new(STDIN)) {
            Format::of(file, options.format)?;
        }
        Ok(Self { files, options })
    }

    /// The files, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// How they are read.
    #[must_use]
    pub fn options(&self) -> &SourceOptions {
        &self.options
    }

    /// Size of all files together, as they are on disk; none if that cannot be known.
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        let sizes = self.files.iter().map(|file| {
            let metadata = file.metadata().ok()?;
            metadata.is_file().then_some(metadata.len())
        });
        sizes.sum()
    }

    /// Reads them from the start, block by block.
    #[must_use]
    pub fn blocks(&self) -> Blocks {
        Blocks::new(self)
    }
}
