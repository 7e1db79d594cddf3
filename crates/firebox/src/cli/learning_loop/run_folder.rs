//! `runs/<id>/`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;

/// The folder of one run.
pub(super) struct RunFolder {
    path: PathBuf,
    id: String,
    /// `YYYYMMDD-HHMMSS`.
    started_at: String,
}

impl RunFolder {
    /// A new folder under `runs`, named by the time; a second run in the same second gets a number.
    pub(super) fn create(runs: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(runs)
            .with_context(|| format!("create folder `{}`", runs.display()))?;
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let time = utc(seconds);
        for attempt in 1.. {
            let id = if attempt == 1 {
                format!("loop-{time}")
            } else {
                format!("loop-{time}-{attempt}")
            };
            let path = runs.join(&id);
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        id,
                        started_at: time,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("create folder `{}`", path.display()));
                }
            }
        }
        unreachable!("the loop ends only by returning")
    }

    /// After a run that failed before it wrote anything.
    pub(super) fn remove_if_empty(&self) {
        // A folder with anything in it is refused by the system, and that is what is wanted.
        let _ = std::fs::remove_dir(&self.path);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// `YYYY-MM-DD HH:MM UTC`.
    pub(super) fn started_at(&self) -> String {
        let part = |from: usize, to: usize| self.started_at.get(from..to).unwrap_or("");
        let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
        format!("{year}-{month}-{day} {}:{} UTC", part(9, 11), part(11, 13))
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(firebox_checkpoint::write_atomic(
            &self.path.join(name),
            bytes,
        )?)
    }
}

/// `YYYYMMDD-HHMMSS` of a Unix time.
///
/// Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day % 3600 / 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_dates() {
        assert_eq!(utc(0), "19700101-000000");
        assert_eq!(utc(951_827_696), "20000229-123456");
        assert_eq!(utc(1_795_564_799), "20261124-235959");
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (
            RunFolder::create(dir.path()).unwrap(),
            RunFolder::create(dir.path()).unwrap(),
        );
        assert_ne!(a.path(), b.path());
        assert!(a.started_at().ends_with(" UTC"));
        a.write("x", b"1").unwrap();
        assert!(a.path().join("x").exists());
    }
}
