//! The machine's `pip download`, told to run nothing.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::file_name;
use crate::error::HubError;
use crate::pull::Job;

/// How often a running pip is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Lines of pip's error output that are worth showing.
const SHOWN_LINES: usize = 4;

/// Downloads one wheel into `download_dir` and returns its path.
///
/// Wheels only: of a source package pip would run the build script to learn its name and version.
/// pip checks the wheel against the hash that the index gives, and follows the machine's own
/// configuration (index, certificates, proxy).
pub(super) fn download(
    requirement: &str,
    python: &Path,
    download_dir: &Path,
    job: &mut Job<'_>,
) -> Result<PathBuf, HubError> {
    let errors_path = download_dir.with_extension("errors.txt");
    let errors = File::create(&errors_path).map_err(HubError::io("create", &errors_path))?;
    // Where pip writes what has arrived, until it is whole: its growth is our progress.
    let arriving_dir = download_dir.with_extension("arriving");
    fs::create_dir_all(&arriving_dir).map_err(HubError::io("create", &arriving_dir))?;
    let child = Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-input",
        ])
        .args(["--disable-pip-version-check", "--quiet", "--dest", "."])
        .args(["--", requirement])
        // Also keeps a `pip.py` in the user's folder from being imported in pip's place.
        .current_dir(download_dir)
        .env("TMPDIR", &arriving_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => HubError::NoPip {
                python: python.to_owned(),
                found: "no such program".to_owned(),
            },
            _ => HubError::io("run", python)(error),
        })?;
    let status = wait(child, requirement, python, &arriving_dir, job)?;
    if !status.success() {
        let errors = fs::read(&errors_path).map_err(HubError::io("read", &errors_path))?;
        return Err(failure(
            requirement,
            python,
            status,
            &String::from_utf8_lossy(&errors),
        ));
    }
    only_wheel(requirement, download_dir)
}

/// Waits for pip, and ends it when the pull is cancelled.
fn wait(
    mut child: Child,
    requirement: &str,
    python: &Path,
    arriving_dir: &Path,
    job: &mut Job<'_>,
) -> Result<ExitStatus, HubError> {
    let message = format!("pip downloads {requirement}");
    let mut done_bytes = 0;
    loop {
        // pip moves the whole file away at the end.
        done_bytes = done_bytes.max(largest_in(arriving_dir));
        job.report(&message, done_bytes, None);
        let cancelled = job.check_cancelled();
        if cancelled.is_err() {
            // An error here means that pip has ended by itself.
            let _ = child.kill();
        }
        let status = child.try_wait().map_err(HubError::io("wait for", python))?;
        match (status, cancelled) {
            (Some(_), Err(error)) => return Err(error),
            (Some(status), Ok(())) => return Ok(status),
            (None, _) => thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Bytes of the largest file below a folder that somebody else is changing: what cannot be read
/// counts nothing. (pip copies the wheel at the end, which is no second download.)
fn largest_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => largest_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.max().unwrap_or(0)
}

fn failure(requirement: &str, python: &Path, status: ExitStatus, errors: &str) -> HubError {
    let lines: Vec<&str> = errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let with = |text: &str| lines.iter().find(|line| line.contains(text));
    if let Some(line) = with("No module named pip") {
        return HubError::NoPip {
            python: python.to_owned(),
            found: (*line).to_owned(),
        };
    }
    // "Could not find a version …" lists the versions that exist; the other line does not.
    if let Some(line) =
        with("Could not find a version").or_else(|| with("No matching distribution"))
    {
        let found = line.trim_start_matches("ERROR: ").to_owned();
        return HubError::NoSuchWheel {
            package: requirement.to_owned(),
            found,
        };
    }
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    HubError::PipFailed {
        package: requirement.to_owned(),
        status: status.to_string(),
        found: shown.join(" / "),
    }
}

fn only_wheel(requirement: &str, download_dir: &Path) -> Result<PathBuf, HubError> {
    let entries = fs::read_dir(download_dir).map_err(HubError::io("list", download_dir))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(HubError::io("list", download_dir))?.path());
    }
    match paths.as_slice() {
        [path] if path.extension().is_some_and(|extension| extension == "whl") => Ok(path.clone()),
        _ => Err(HubError::NotOneWheel {
            package: requirement.to_owned(),
            found: paths.iter().map(|path| file_name(path)).collect(),
        }),
    }
}
