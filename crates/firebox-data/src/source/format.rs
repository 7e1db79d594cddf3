//! What a file holds, and how it is compressed.

use std::path::Path;

use super::SourceError;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON Lines, one object a line: `.jsonl`, `.ndjson`, and `.json` as data sets often name them.
    Jsonl,
    /// Comma-separated values with a header line, quoted as in RFC 4180: `.csv`.
    Csv,
    /// Tab-separated values with a header line: `.tsv`.
    Tsv,
    /// Apache Parquet: `.parquet`, with the feature `parquet`.
    Parquet,
    /// MEDLINE XML as PubMed distributes it: `.xml`.
    Medline,
    /// Plain text, one document a file: `.txt`, `.md`.
    Text,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or more members: `.gz`.
    Gzip,
    /// Zstandard, of one or more frames: `.zst`.
    Zstd,
}

impl Format {
    /// The format that a name says, with the compression; none if it says nothing.
    ///
    /// # Examples
    /// ```
    /// use firebox_data::{Compression, Format};
    /// let named = Format::from_name("corpus/a.jsonl.zst".as_ref());
    /// assert_eq!(named, Some((Format::Jsonl, Compression::Zstd)));
    /// ```
    #[must_use]
    pub fn from_name(path: &Path) -> Option<(Self, Compression)> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (stem, compression) = Compression::split(&name);
        let format = match stem.rsplit_once('.')?.1 {
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "parquet" => Self::Parquet,
            "xml" => Self::Medline,
            "txt" | "md" => Self::Text,
            _ => return None,
        };
        Some((format, compression))
    }

    /// As [`from_name`](Self::from_name), with `forced` before what the name says.
    pub(super) fn of(
        path: &Path,
        forced: Option<Self>,
    ) -> Result<(Self, Compression), SourceError> {
        if let Some(format) = forced {
            let name = path.to_string_lossy().to_lowercase();
            return Ok((format, Compression::split(&name).1));
        }
        Self::from_name(path).ok_or_else(|| SourceError::UnknownExtension {
            path: path.to_path_buf(),
        })
    }
}

impl Compression {
    /// Number of bytes that [`from_magic`](Self::from_magic) looks at.
    pub(super) const N_MAGIC_BYTES: usize = 4;

    /// The compression that a stream's first bytes say.
    pub(super) fn from_magic(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// A lower-case name without the compression's ending.
    fn split(name: &str) -> (&str, Self) {
        if let Some(stem) = name.strip_suffix(".gz") {
            (stem, Self::Gzip)
        } else if let Some(stem) = name.strip_suffix(".zst") {
            (stem, Self::Zstd)
        } else {
            (name, Self::None)
        }
    }
}
