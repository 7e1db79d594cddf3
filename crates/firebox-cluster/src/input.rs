//! From URLs to the files behind them, and who reads which.

use std::path::Path;

use datafusion::execution::runtime_env::RuntimeEnv;
use firebox_data::Format;
use futures_util::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::ClusterError;
use crate::columns::MAX_FILES;
use crate::store::Location;

/// An input file. Its place in the list is its index in documents' numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct InputFile {
    pub(crate) index: u32,
    pub(crate) url: String,
    pub(crate) n_bytes: u64,
}

/// The format that a URL says.
pub(crate) fn format_of(url: &str) -> Option<Format> {
    Format::from_name(Path::new(url)).map(|(format, _)| format)
}

/// The files behind URLs: each a file, or a folder with all its files of known formats, hidden ones
/// left out. URLs keep their order; the files of one are sorted by path.
pub(crate) async fn list_input(
    urls: &[String],
    runtime: &RuntimeEnv,
) -> Result<Vec<InputFile>, ClusterError> {
    let mut files = Vec::new();
    for url in urls {
        let location = Location::parse(url)?;
        let store = location.store(runtime)?;
        for meta in list_one(&location, store.as_ref()).await? {
            files.push(InputFile {
                index: files.len() as u32,
                url: location.url_of(&meta.location),
                n_bytes: meta.size,
            });
        }
    }
    if files.len() > MAX_FILES {
        return Err(ClusterError::TooManyFiles {
            n_files: files.len(),
            max_files: MAX_FILES,
        });
    }
    Ok(files)
}

async fn list_one(
    location: &Location,
    store: &dyn ObjectStore,
) -> Result<Vec<ObjectMeta>, ClusterError> {
    let url = || location.to_string();
    if let Ok(meta) = store.head(&location.path).await {
        return match format_of(location.path.as_ref()) {
            Some(_) => Ok(vec![meta]),
            None => Err(ClusterError::UnknownExtension { url: url() }),
        };
    }
    let mut found: Vec<ObjectMeta> = store
        .list(Some(&location.path))
        .try_filter(|meta| {
            let path = meta.location.as_ref();
            std::future::ready(format_of(path).is_some() && !is_hidden(location, meta))
        })
        .try_collect()
        .await
        .map_err(|source| ClusterError::Store { url: url(), source })?;
    // By the parts of the path, as one machine sorts paths.
    found.sort_by(|a, b| a.location.parts().cmp(b.location.parts()));
    if found.is_empty() {
        return Err(ClusterError::NoFiles { url: url() });
    }
    Ok(found)
}

/// Whether a part of the path below the URL starts with a dot.
fn is_hidden(location: &Location, meta: &ObjectMeta) -> bool {
    meta.location
        .prefix_match(&location.path)
        .is_some_and(|mut parts| parts.any(|part| part.as_ref().starts_with('.')))
}

/// Shares files out to tasks so that the largest share is small: files from the largest to the
/// smallest, each to the task that has least. Depends on the files alone.
///
/// Source: Graham (1969), "Bounds on multiprocessing timing anomalies", section 3 (LPT).
pub(crate) fn share_out(files: &[InputFile], n_tasks: usize) -> Vec<Vec<InputFile>> {
    let mut by_size: Vec<&InputFile> = files.iter().collect();
    by_size.sort_by(|a, b| b.n_bytes.cmp(&a.n_bytes).then(a.index.cmp(&b.index)));
    let n_tasks = n_tasks.clamp(1, files.len().max(1));
    let mut shares = vec![(0_u64, Vec::new()); n_tasks];
    for file in by_size {
        let lightest = (0..n_tasks).min_by_key(|&task| (shares[task].0, task));
        let (n_bytes, share) = &mut shares[lightest.unwrap_or(0)];
        // A file costs something even if it is empty.
        *n_bytes += file.n_bytes + 1;
        share.push(file.clone());
    }
    let mut shares: Vec<Vec<InputFile>> = shares.into_iter().map(|(_, share)| share).collect();
    for share in &mut shares {
        share.sort_by_key(|file| file.index);
    }
    shares
}

#[cfg(test)]
mod tests;
