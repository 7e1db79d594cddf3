//! Hashes of files, in the spellings that wheels and the hub use.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes read at a time while hashing or unpacking.
pub(crate) const CHUNK_BYTES: usize = 1 << 16;

/// SHA-256 of a file's bytes, in lower-case hex.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    hash_file::<Sha256>(path, Sha256::new())
}

/// Git's name for a file of these bytes: SHA-1 over `blob LENGTH\0` and the bytes, in lower-case hex.
///
/// Source: Git, `gitformat-pack(5)` and `git-hash-object(1)`.
pub(crate) fn git_blob_id_of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", path.metadata()?.len()));
    hash_file(path, hasher)
}

/// Lower-case hex of `bytes`.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_file<D: Digest>(path: &Path, mut hasher: D) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(to_hex(&hasher.finalize())),
            n_bytes => hasher.update(&chunk[..n_bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_blob_id_is_the_one_git_prints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        // `echo hello | git hash-object --stdin`
        assert_eq!(
            git_blob_id_of_file(&path).unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }

    #[test]
    fn sha256_is_the_one_sha256sum_prints() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(
            sha256_of_file(&path).unwrap(),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
    }
}
