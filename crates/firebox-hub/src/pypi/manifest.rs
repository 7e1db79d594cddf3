//! `manifest.json`: what a package left in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::sha256_of_file;
use crate::error::HubError;
use crate::member::{is_licence, safe_relative_path};

/// The version of the format. A manifest of another version is fetched again.
pub(super) const FORMAT_VERSION: u32 = 1;

const FILE_NAME: &str = "manifest.json";

/// What a package left in the cache, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) version: u32,
    /// `pypi:NAME==VERSION`.
    pub(super) source: String,
    pub(super) wheel: WheelEntry,
    /// Sorted by path.
    pub(super) files: Vec<FileEntry>,
}

/// The wheel that the files came from; it is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WheelEntry {
    pub(super) file_name: String,
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
}

/// One unpacked file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Relative to `files/`, with `/`.
    pub(super) path: String,
    pub(super) size_bytes: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
}

impl FileEntry {
    /// True for the licence texts that travel with the data.
    pub(super) fn is_licence(&self) -> bool {
        is_licence(&self.path)
    }
}

impl Manifest {
    /// The manifest of `version_dir`, or `None` where there is none that this version can use.
    pub(super) fn read(version_dir: &Path) -> Option<Self> {
        let text = fs::read(version_dir.join(FILE_NAME)).ok()?;
        let manifest: Self = serde_json::from_slice(&text).ok()?;
        (manifest.version == FORMAT_VERSION).then_some(manifest)
    }

    /// Writes it into a folder that nobody else sees yet.
    pub(super) fn write(&self, dir: &Path) -> Result<(), HubError> {
        let path = dir.join(FILE_NAME);
        let text = self
            .to_json()
            .map_err(|error| HubError::io("encode", &path)(error.into()))?;
        fs::write(&path, text)
            .and_then(|()| fs::File::open(&path)?.sync_all())
            .map_err(HubError::io("write", &path))
    }

    /// The text of the file.
    pub(super) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The path of the first file that is missing or differs.
    pub(super) fn first_difference(&self, files_dir: &Path) -> Option<&str> {
        let is_same = |file: &FileEntry| {
            let Ok(relative) = safe_relative_path(&file.path) else {
                return false;
            };
            let path = files_dir.join(relative);
            path.metadata()
                .is_ok_and(|found| found.len() == file.size_bytes)
                && sha256_of_file(&path).is_ok_and(|found| found == file.sha256)
        };
        self.files
            .iter()
            .find(|file| !is_same(file))
            .map(|file| file.path.as_str())
    }

    /// The one GGUF file, or the one folder with `config.json` beside `*.safetensors`.
    pub(super) fn only_model(&self) -> Option<&str> {
        let mut models: Vec<&str> = self
            .paths()
            .filter(|path| path.to_lowercase().ends_with(".gguf"))
            .collect();
        models.extend(self.model_folders());
        match models.as_slice() {
            [model] => Some(model),
            _ => None,
        }
    }

    fn model_folders(&self) -> Vec<&str> {
        // (has a config, has weights)
        let mut folders: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for path in self.paths() {
            let (folder, base) = path.rsplit_once('/').unwrap_or(("", path));
            let found = folders.entry(folder).or_default();
            found.0 |= base == "config.json";
            found.1 |= base.ends_with(".safetensors");
        }
        let is_model = |(_, found): &(&str, (bool, bool))| *found == (true, true);
        folders
            .into_iter()
            .filter(is_model)
            .map(|(folder, _)| folder)
            .collect()
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let file = |path: &&str| FileEntry {
            path: (*path).to_owned(),
            size_bytes: 3,
            sha256: "ab".repeat(32),
        };
        Manifest {
            version: FORMAT_VERSION,
            source: "pypi:x==1".to_owned(),
            wheel: WheelEntry {
                file_name: "x-1-py3-none-any.whl".to_owned(),
                size_bytes: 10,
                sha256: "cd".repeat(32),
            },
            files: paths.iter().map(file).collect(),
        }
    }

    #[test]
    fn the_written_form_is_the_golden_one() {
        let golden = include_str!("manifest/version_1.json");
        assert_eq!(manifest(&["data/a.txt"]).to_json().unwrap(), golden);
        assert_eq!(
            serde_json::from_str::<Manifest>(golden).unwrap(),
            manifest(&["data/a.txt"])
        );
    }

    #[test]
    fn the_only_model_is_one_gguf_or_one_folder() {
        assert_eq!(
            manifest(&["p/m.gguf", "p/a.txt"]).only_model(),
            Some("p/m.gguf")
        );
        let folder = manifest(&[
            "p/m/config.json",
            "p/m/model.safetensors",
            "p/m/1/config.json",
        ]);
        assert_eq!(folder.only_model(), Some("p/m"));
        assert_eq!(
            manifest(&["config.json", "model.safetensors"]).only_model(),
            Some("")
        );
        assert_eq!(manifest(&["p/a.gguf", "p/b.gguf"]).only_model(), None);
        assert_eq!(manifest(&["p/a.txt"]).only_model(), None);
    }

    #[test]
    fn a_manifest_that_names_a_path_outside_never_matches() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            manifest(&["../x.txt"]).first_difference(dir.path()),
            Some("../x.txt")
        );
    }
}
