//! `RECORD`: the hash and size of each file in a wheel.
//!
//! Source: PyPA, "Recording installed projects", <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>.

use std::collections::HashMap;
use std::io::{Read, Seek};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zip::ZipArchive;

use super::WheelError;
use crate::digest::to_hex;

/// The most bytes of `RECORD` that are read: 100,000 lines of ordinary length.
const MAX_RECORD_BYTES: u64 = 32 << 20;

/// The hash and size of each file that has one.
pub(super) struct Record {
    entries: HashMap<String, RecordEntry>,
}

/// What `RECORD` says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordEntry {
    /// Lower-case hex.
    pub(super) sha256: String,
    pub(super) size_bytes: u64,
}

impl Record {
    pub(super) fn of_archive<R: Read + Seek>(
        archive: &mut ZipArchive<R>,
    ) -> Result<Self, WheelError> {
        let is_record = |name: &&str| {
            name.strip_suffix("/RECORD")
                .is_some_and(|folder| folder.ends_with(".dist-info") && !folder.contains('/'))
        };
        let mut names = Vec::new();
        for index in 0..archive.len() {
            if let Some(name) = archive.name_for_index(index) {
                names.push(name.map_err(WheelError::NotZip)?.into_owned());
            }
        }
        let found: Vec<&str> = names.iter().map(String::as_str).filter(is_record).collect();
        let [name] = found.as_slice() else {
            return Err(WheelError::NoRecord { found: found.len() });
        };
        let packed = archive.by_name(name).map_err(WheelError::NotZip)?;
        let mut text = String::new();
        packed
            .take(MAX_RECORD_BYTES)
            .read_to_string(&mut text)
            .map_err(|source| WheelError::Read {
                member: (*name).to_owned(),
                source,
            })?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self, WheelError> {
        let mut entries = HashMap::new();
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
        {
            let bad = || WheelError::BadRecord {
                line: index + 1,
                found: line.to_owned(),
            };
            let (path, rest) = split_path(line).ok_or_else(bad)?;
            let (hash, size) = rest.split_once(',').ok_or_else(bad)?;
            // `RECORD` itself and its signatures have neither.
            if hash.is_empty() {
                continue;
            }
            let digest = hash
                .strip_prefix("sha256=")
                .and_then(|code| URL_SAFE_NO_PAD.decode(code.trim_end_matches('=')).ok())
                .filter(|digest| digest.len() == 32)
                .ok_or_else(bad)?;
            let size_bytes = size.trim_end().parse().map_err(|_| bad())?;
            entries.insert(
                path,
                RecordEntry {
                    sha256: to_hex(&digest),
                    size_bytes,
                },
            );
        }
        Ok(Self { entries })
    }

    pub(super) fn entry(&self, path: &str) -> Option<&RecordEntry> {
        self.entries.get(path)
    }
}

/// Splits the first CSV field off: plain, or in quotes with `""` for a quote.
fn split_path(line: &str) -> Option<(String, &str)> {
    let Some(quoted) = line.strip_prefix('"') else {
        return line
            .split_once(',')
            .map(|(path, rest)| (path.to_owned(), rest));
    };
    let mut path = String::new();
    let mut rest = quoted;
    loop {
        let (piece, after) = rest.split_once('"')?;
        path.push_str(piece);
        match after.strip_prefix('"') {
            Some(after) => {
                path.push('"');
                rest = after;
            }
            None => return after.strip_prefix(',').map(|rest| (path, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn a_line_gives_the_hash_in_hex() {
        let record = Record::parse(&format!("a/b.txt,sha256={EMPTY},0\nx/RECORD,,\n")).unwrap();
        let entry = record.entry("a/b.txt").unwrap();
        assert_eq!(
            entry.sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(record.entry("x/RECORD").is_none());
    }

    #[test]
    fn a_path_with_commas_and_quotes_is_read() {
        let record = Record::parse(&format!("\"a,\"\"b\"\".txt\",sha256={EMPTY},7")).unwrap();
        assert_eq!(record.entry("a,\"b\".txt").unwrap().size_bytes, 7);
    }

    #[test]
    fn broken_lines_are_named_by_their_number() {
        for line in [
            "a.txt",
            "a.txt,sha256=xx,1",
            "a.txt,md5=abcd,1",
            "\"a.txt,x,1",
            "a,b,c",
        ] {
            let error = Record::parse(&format!("\n{line}")).err().expect(line);
            assert!(
                matches!(error, WheelError::BadRecord { line: 2, .. }),
                "{error}"
            );
        }
    }
}
