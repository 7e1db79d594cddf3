//! Who may ask, and how much.
//!
//! A key is 32 random bytes, written as `fbx-` and hexadecimal digits. Files hold its SHA-256: a key with so
//! much chance in it needs no slow hash.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use firebox_checkpoint::{AtomicFile, CheckpointError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How a key begins.
const PREFIX: &str = "fbx-";

const MINUTE: Duration = Duration::from_secs(60);

/// One key as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// Whose it is: in the log and for fairness.
    pub name: String,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// Requests it may begin in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens, of prompts and answers together, in a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Requests under way at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Whether it may load and unload adapters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
}

/// The file: `[[key]]` tables.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be read.
    #[error("keys file `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] CheckpointError),
    /// It is no TOML of keys.
    #[error("keys file `{}`: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// An entry says something impossible.
    #[error(
        "keys file `{}`: key `{name}`: expected {expected} (hint: `firebox key` makes entries)",
        path.display()
    )]
    Entry {
        /// The file.
        path: PathBuf,
        /// The key's name.
        name: String,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// Makes a new key under a name: the secret, to be shown once, and its entry.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_key(name: &str) -> io::Result<(String, KeyEntry)> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let secret = format!("{PREFIX}{}", hex(&bytes));
    let entry = KeyEntry {
        name: name.to_owned(),
        sha256: hex(&Sha256::digest(secret.as_bytes())),
        requests_per_minute: None,
        tokens_per_minute: None,
        max_concurrent: None,
        admin: false,
    };
    Ok((secret, entry))
}

/// The keys that a server takes; clones are the same keys, and can be changed while it serves.
#[derive(Clone, Debug)]
pub struct Keys(Arc<RwLock<Arc<Vec<Arc<Key>>>>>);

/// A key and what it has used.
#[derive(Debug)]
pub(crate) struct Key {
    entry: KeyEntry,
    digest: [u8; 32],
    requests: Mutex<Bucket>,
    tokens: Mutex<Bucket>,
    running: Arc<Semaphore>,
}

/// What fills up over a minute, may be overdrawn, and must not be empty when something begins.
#[derive(Debug)]
struct Bucket {
    left: f64,
    since: Instant,
}

/// Why a key may not begin a request now.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("this key has a limit of {limit} {what} (hint: try again in {} s)", self.retry_after_s())]
pub(crate) struct TooMuch {
    pub(crate) what: &'static str,
    pub(crate) limit: u32,
    pub(crate) retry_after: Duration,
}

impl TooMuch {
    /// Whole seconds, at least one.
    pub(crate) fn retry_after_s(&self) -> u64 {
        self.retry_after.as_secs_f64().ceil().max(1.0) as u64
    }
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let keys = Self(Arc::default());
        keys.reload(path)?;
        Ok(keys)
    }

    /// Keys of these entries.
    ///
    /// # Errors
    /// [`KeyError::Entry`], under the path `-`.
    pub fn from_entries(entries: Vec<KeyEntry>) -> Result<Self, KeyError> {
        let keys = Self(Arc::default());
        keys.replace(entries, Path::new("-"))?;
        Ok(keys)
    }

    /// Reads the file again. What keys have used is kept by name; requests under way go on. Nothing
    /// changes when the file is wrong.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn reload(&self, path: &Path) -> Result<(), KeyError> {
        self.replace(read(path)?.key, path)
    }

    fn replace(&self, entries: Vec<KeyEntry>, path: &Path) -> Result<(), KeyError> {
        let old = self.current();
        let used: HashMap<&str, &Arc<Key>> =
            old.iter().map(|key| (&*key.entry.name, key)).collect();
        let mut keys = Vec::with_capacity(entries.len());
        for entry in entries {
            let wrong = |expected| KeyError::Entry {
                path: path.to_owned(),
                name: entry.name.clone(),
                expected,
            };
            let digest =
                unhex(&entry.sha256).ok_or_else(|| wrong("64 hexadecimal digits as `sha256`"))?;
            let limits = [
                entry.requests_per_minute,
                entry.tokens_per_minute,
                entry.max_concurrent,
            ];
            if limits.contains(&Some(0)) {
                return Err(wrong("limits above 0"));
            }
            if entry.name.is_empty()
                || keys
                    .iter()
                    .any(|key: &Arc<Key>| key.entry.name == entry.name)
            {
                return Err(wrong("a name of its own"));
            }
            keys.push(match used.get(&*entry.name) {
                Some(key) if key.entry == entry => Arc::clone(key),
                _ => Arc::new(Key::new(entry, digest)),
            });
        }
        if let Ok(mut current) = self.0.write() {
            *current = Arc::new(keys);
        }
        Ok(())
    }

    fn current(&self) -> Arc<Vec<Arc<Key>>> {
        self.0
            .read()
            .map(|keys| Arc::clone(&keys))
            .unwrap_or_default()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.current().len()
    }

    /// Whether there is none: nobody may ask then.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that this is. Every key is compared, in the same time whether it fits or not.
    pub(crate) fn find(&self, secret: &[u8]) -> Option<Arc<Key>> {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        let mut found = None;
        for key in self.current().iter() {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(Arc::clone(key));
            }
        }
        found
    }
}

impl Key {
    fn new(entry: KeyEntry, digest: [u8; 32]) -> Self {
        let full = |limit: Option<u32>| {
            Mutex::new(Bucket {
                left: limit.unwrap_or(0).into(),
                since: Instant::now(),
            })
        };
        let n_running = entry
            .max_concurrent
            .map_or(Semaphore::MAX_PERMITS, |n| n as usize);
        Self {
            requests: full(entry.requests_per_minute),
            tokens: full(entry.tokens_per_minute),
            running: Arc::new(Semaphore::new(n_running)),
            entry,
            digest,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.entry.name
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.entry.admin
    }

    /// A number for the key, by which the prefix cache keeps its texts apart; never 0.
    pub(crate) fn cache_salt(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(1)
    }

    /// Begins a request: the place it holds until it is dropped.
    pub(crate) fn begin(&self) -> Result<OwnedSemaphorePermit, TooMuch> {
        let running = Arc::clone(&self.running).try_acquire_owned();
        let place = running.map_err(|_| TooMuch {
            what: "requests at the same time",
            limit: self.entry.max_concurrent.unwrap_or(0),
            retry_after: Duration::from_secs(1),
        })?;
        // Tokens are paid when they are known, so something must be left of them.
        check(
            &self.tokens,
            self.entry.tokens_per_minute,
            "tokens a minute",
            0.0,
        )?;
        check(
            &self.requests,
            self.entry.requests_per_minute,
            "requests a minute",
            1.0,
        )?;
        Ok(place)
    }

    /// Pays for what a request took.
    pub(crate) fn pay_tokens(&self, n: usize) {
        if let (Some(_), Ok(mut bucket)) = (self.entry.tokens_per_minute, self.tokens.lock()) {
            bucket.left -= n as f64;
        }
    }
}

/// Takes `price` of a bucket that has as much, or at least something.
fn check(
    bucket: &Mutex<Bucket>,
    limit: Option<u32>,
    what: &'static str,
    price: f64,
) -> Result<(), TooMuch> {
    let (Some(limit), Ok(mut bucket)) = (limit, bucket.lock()) else {
        return Ok(());
    };
    let (now, full) = (Instant::now(), f64::from(limit));
    let per_second = full / MINUTE.as_secs_f64();
    let filled = now.duration_since(bucket.since).as_secs_f64() * per_second;
    bucket.left = (bucket.left + filled).min(full);
    bucket.since = now;
    let wanted = price.max(1.0);
    if bucket.left < wanted {
        let retry_after = Duration::from_secs_f64((wanted - bucket.left) / per_second);
        return Err(TooMuch {
            what,
            limit,
            retry_after,
        });
    }
    bucket.left -= price;
    Ok(())
}

/// Adds an entry to a file, which may not be there yet. The new file takes the old one's place whole.
///
/// # Errors
/// [`KeyError`], also where the name is taken.
pub fn add_key(path: &Path, entry: KeyEntry) -> Result<(), KeyError> {
    let mut file = match path.exists() {
        true => read(path)?,
        false => KeyFile::default(),
    };
    file.key.push(entry);
    Keys::from_entries(file.key.clone()).map_err(|error| match error {
        KeyError::Entry { name, expected, .. } => KeyError::Entry {
            path: path.to_owned(),
            name,
            expected,
        },
        other => other,
    })?;
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let text = toml::to_string(&file).map_err(|error| failed(io::Error::other(error)))?;
    let mut file = AtomicFile::create(path)?;
    file.make_private()?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(file.commit()?)
}

fn read(path: &Path) -> Result<KeyFile, KeyError> {
    let text = fs::read_to_string(path).map_err(|source| KeyError::Io {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|error| KeyError::Syntax {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
