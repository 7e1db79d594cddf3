//! Repositories of the Hugging Face hub, in the cache layout that Python's `huggingface_hub` also uses.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo, Metadata};
use hf_hub::{Cache, Repo, RepoType};

use crate::digest::{git_blob_id_of_file, sha256_of_file};
use crate::error::HubError;
use crate::member::{is_data, is_licence, near_names, safe_relative_path};
use crate::pull::{Job, PullOptions};
use crate::source::{HubRepo, RepoKind};

#[cfg(test)]
mod tests;

/// How often a download goes on after a broken connection.
const N_RETRIES: usize = 3;

/// Fetches what is missing of the repository's model and data files.
pub(crate) fn pull(
    repo: &HubRepo,
    options: &PullOptions,
    job: &mut Job<'_>,
) -> Result<PathBuf, HubError> {
    let hub = Hub {
        options,
        source_text: job.source_text.to_owned(),
    };
    let api = ApiBuilder::from_cache(Cache::new(options.hf_cache_dir.clone()))
        .with_endpoint(options.hf_endpoint.clone())
        .with_token(options.hf_token.clone())
        .with_retries(N_RETRIES)
        .with_progress(false)
        .build()
        .map_err(|error| hub.failure(error))?;

    job.report("ask the hub for its list of files", 0, None);
    let info = match api.repo(repo_at(repo, repo.revision())).info() {
        Ok(info) => info,
        Err(error) => {
            let error = hub.failure(error);
            return hub.without_network(repo, error, job);
        }
    };
    let commit = hub.checked_name("a commit hash", &info.sha)?.to_owned();
    let listed: Vec<&str> = info
        .siblings
        .iter()
        .map(|file| file.rfilename.as_str())
        .collect();
    let wanted = hub.wanted_files(repo, &listed)?;

    // Every file comes from the commit that the list came from, even if the branch moves meanwhile.
    let pinned = repo_at(repo, &commit);
    let snapshot = Snapshot {
        api: &api,
        files: api.repo(pinned.clone()),
        cache: Cache::new(options.hf_cache_dir.clone()).repo(pinned),
        commit: &commit,
    };
    for file in &wanted {
        job.check_cancelled()?;
        snapshot.fetch(&hub, file, job)?;
    }

    let cache = Cache::new(options.hf_cache_dir.clone());
    cache
        .repo(repo_at(repo, repo.revision()))
        .create_ref(&commit)
        .map_err(HubError::io("write a reference in", &options.hf_cache_dir))?;
    let folder = snapshot.folder();
    path_in(&folder, repo)
}

fn repo_at(repo: &HubRepo, revision: &str) -> Repo {
    let kind = match repo.kind() {
        RepoKind::Model => RepoType::Model,
        RepoKind::Dataset => RepoType::Dataset,
    };
    Repo::with_revision(repo.id().to_owned(), kind, revision.to_owned())
}

/// The other side, and what we call it in errors.
struct Hub<'a> {
    options: &'a PullOptions,
    source_text: String,
}

impl Hub<'_> {
    /// The model and data files of the list, or the one that was asked for.
    fn wanted_files(&self, repo: &HubRepo, listed: &[&str]) -> Result<Vec<String>, HubError> {
        let source_text = || self.source_text.clone();
        if let Some(file) = repo.file() {
            if listed.contains(&file) {
                safe_relative_path(file)?;
                return Ok(vec![file.to_owned()]);
            }
            let near = near_names(file, listed.iter().copied());
            let near = near
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let source_text = source_text()
                .trim_end_matches(&format!("#{file}"))
                .to_owned();
            return Err(HubError::MemberNotFound {
                member: file.to_owned(),
                source_text,
                near,
            });
        }
        let mut wanted = Vec::new();
        for name in listed
            .iter()
            .filter(|name| is_data(name) || is_licence(name))
        {
            safe_relative_path(name)?;
            wanted.push((*name).to_owned());
        }
        if wanted.iter().all(|name| is_licence(name)) {
            return Err(HubError::NoData {
                source_text: source_text(),
            });
        }
        Ok(wanted)
    }

    /// `found`, if it can be a file's name: the hub's commits and hashes become names in the cache.
    fn checked_name<'n>(
        &self,
        expected: &'static str,
        found: &'n str,
    ) -> Result<&'n str, HubError> {
        let is_name = (8..=128).contains(&found.len())
            && found
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if is_name {
            return Ok(found);
        }
        let source_text = self.source_text.clone();
        Err(HubError::HubAnswer {
            source_text,
            expected,
            found: found.to_owned(),
        })
    }

    /// What an earlier pull of the revision left, if the hub gave no answer at all; or else `error`.
    fn without_network(
        &self,
        repo: &HubRepo,
        error: HubError,
        job: &mut Job<'_>,
    ) -> Result<PathBuf, HubError> {
        let cache = Cache::new(self.options.hf_cache_dir.clone());
        let at_revision = repo_at(repo, repo.revision());
        let reference = cache
            .path()
            .join(at_revision.folder_name())
            .join("refs")
            .join(repo.revision());
        let commit = match (&error, fs::read_to_string(reference)) {
            (HubError::Hub { .. }, Ok(commit)) => commit,
            _ => return Err(error),
        };
        let commit = self.checked_name("a commit hash", commit.trim())?;
        let folder = cache.repo(at_revision).pointer_path(commit);
        let path = path_in(&folder, repo)?;
        if !path.exists() {
            return Err(error);
        }
        job.report(
            "the hub does not answer: take what is in the cache",
            0,
            None,
        );
        Ok(path)
    }

    fn failure(&self, error: ApiError) -> HubError {
        let source_text = self.source_text.clone();
        let status = match &error {
            ApiError::RequestError(error) => match error.as_ref() {
                ureq::Error::StatusCode(status) => Some(*status),
                _ => None,
            },
            _ => None,
        };
        match status {
            Some(404) => HubError::NotOnHub { source_text },
            Some(401 | 403) => HubError::HubAccess { source_text },
            _ => HubError::Hub {
                source_text,
                endpoint: self.options.hf_endpoint.clone(),
                source: Box::new(error),
            },
        }
    }
}

/// One commit of one repository, there and in the cache.
struct Snapshot<'a> {
    api: &'a Api,
    files: ApiRepo,
    cache: hf_hub::CacheRepo,
    commit: &'a str,
}

impl Snapshot<'_> {
    fn folder(&self) -> PathBuf {
        self.cache.pointer_path(self.commit)
    }

    /// Downloads one file unless a blob of its hash is there, and checks what arrived.
    fn fetch(&self, hub: &Hub<'_>, file: &str, job: &mut Job<'_>) -> Result<(), HubError> {
        let message = format!("fetch {file}");
        job.report(&message, 0, None);
        let metadata = self
            .api
            .metadata(&self.files.url(file))
            .map_err(|error| hub.failure(error))?;
        let etag = hub.checked_name("a hash", metadata.etag())?.to_owned();
        hub.checked_name("a commit hash", metadata.commit_hash())?;
        let blob = self.cache.blob_path(&etag);
        let pointer = self.folder().join(safe_relative_path(file)?);
        let size_bytes = metadata.size() as u64;

        if blob.metadata().is_ok_and(|found| found.len() == size_bytes) {
            job.report(&message, size_bytes, Some(size_bytes));
            return if pointer.exists() {
                Ok(())
            } else {
                point_to(&blob, &pointer, file)
            };
        }
        drop_useless_part(&blob, &metadata);
        let watcher = Watcher {
            message,
            done_bytes: 0,
            total_bytes: size_bytes,
            job,
        };
        self.files
            .download_with_progress(file, watcher)
            .map_err(|error| hub.failure(error))?;
        check_hash(file, &etag, &blob).inspect_err(|_| {
            // What is wrong must not be found again; failing to remove it changes nothing.
            let _ = fs::remove_file(&pointer);
            let _ = fs::remove_file(&blob);
        })
    }
}

/// What the source means in a snapshot: its file, or the one GGUF, or all of it.
fn path_in(folder: &Path, repo: &HubRepo) -> Result<PathBuf, HubError> {
    Ok(match repo.file() {
        Some(file) => folder.join(safe_relative_path(file)?),
        None => only_gguf(folder).unwrap_or_else(|| folder.to_owned()),
    })
}

/// The model file of a snapshot that has one GGUF and no other data.
fn only_gguf(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten();
    let mut data = names.filter(|entry| entry.file_name().to_str().is_some_and(is_data));
    match (data.next(), data.next()) {
        (Some(only), None) => {
            Some(only.path()).filter(|path| path.extension() == Some("gguf".as_ref()))
        }
        _ => None,
    }
}

/// hf-hub goes on from `ETAG.part`. One that is already complete would ask for an empty range.
fn drop_useless_part(blob: &Path, metadata: &Metadata) {
    let part = blob.with_extension("part");
    if part
        .metadata()
        .is_ok_and(|found| found.len() >= metadata.size() as u64)
    {
        let _ = fs::remove_file(part);
    }
}

/// The hub names large files by their SHA-256 and small ones by Git's blob id.
fn check_hash(file: &str, etag: &str, blob: &Path) -> Result<(), HubError> {
    let hash = match etag.len() {
        64 => sha256_of_file(blob),
        40 => git_blob_id_of_file(blob),
        _ => return Ok(()),
    };
    let found = hash.map_err(HubError::io("read", blob))?;
    if found == etag {
        return Ok(());
    }
    Err(HubError::HubHash {
        file: file.to_owned(),
        expected: etag.to_owned(),
        found,
    })
}

/// Makes `pointer` (`snapshots/COMMIT/a/b`) stand for `blob` (`blobs/ETAG`), as the layout wants it.
fn point_to(blob: &Path, pointer: &Path, file: &str) -> Result<(), HubError> {
    let parent = pointer.parent().unwrap_or(pointer);
    fs::create_dir_all(parent).map_err(HubError::io("create", parent))?;
    // Up from the file's own folders, from the commit and from `snapshots`.
    let climb = "../".repeat(file.matches('/').count() + 2);
    let name = blob.file_name().unwrap_or_default().to_string_lossy();
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(format!("{climb}blobs/{name}"), pointer);
    #[cfg(not(unix))]
    let linked = {
        let _ = (climb, name);
        fs::hard_link(blob, pointer)
    };
    linked.map_err(HubError::io("link", pointer))
}

/// Passes hf-hub's reports on.
struct Watcher<'a, 'job> {
    message: String,
    done_bytes: u64,
    total_bytes: u64,
    job: &'a mut Job<'job>,
}

impl hf_hub::api::Progress for Watcher<'_, '_> {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.done_bytes = 0;
    }

    fn update(&mut self, size: usize) {
        self.done_bytes += size as u64;
        self.job
            .report(&self.message, self.done_bytes, Some(self.total_bytes));
    }

    fn finish(&mut self) {}
}
