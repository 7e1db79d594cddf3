//! Where files lie: local disks, and object stores that speak S3's protocol.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::ObjectStore;
use object_store::path::Path;
#[cfg(feature = "s3")]
use serde::Deserialize;
use url::Url;

use crate::ClusterError;

/// An S3-compatible store, and what it takes to enter it.
///
/// Whoever starts a process gives it its stores: keys are in no plan and on no wire but the store's,
/// and nothing is taken from the environment.
#[cfg(feature = "s3")]
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket: `s3://bucket/..` are its URLs.
    pub bucket: String,
    /// Where the store answers, for instance `https://minio.example:9000`; Amazon's own if absent.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Its region; `us-east-1` for most stores that are not Amazon's.
    pub region: String,
    /// Who asks.
    pub access_key_id: String,
    /// The secret to it.
    pub secret_access_key: String,
    /// Whether the endpoint may be `http://`.
    #[serde(default)]
    pub allow_http: bool,
}

#[cfg(feature = "s3")]
impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The stores of a process. Local paths (`file://`) are always there.
#[derive(Clone, Default)]
pub struct Stores {
    entries: Vec<(Url, Arc<dyn ObjectStore>)>,
}

impl Stores {
    /// Local paths alone.
    #[must_use]
    pub fn local() -> Self {
        Self::default()
    }

    /// Adds any store under the scheme and host of a URL, for instance
    /// [`InMemory`](object_store::memory::InMemory) under `memory://`.
    #[must_use]
    pub fn with(mut self, url: Url, store: Arc<dyn ObjectStore>) -> Self {
        self.entries.push((url, store));
        self
    }

    /// Adds an S3-compatible store under `s3://BUCKET`.
    ///
    /// # Errors
    /// [`ClusterError::Store`] if the settings do not fit together, as an `http://` endpoint without
    /// [`allow_http`](S3Config::allow_http).
    #[cfg(feature = "s3")]
    pub fn with_s3(self, config: &S3Config) -> Result<Self, ClusterError> {
        let name = format!("s3://{}", config.bucket);
        let url = parse_url(&name)?;
        let mut builder = object_store::aws::AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key)
            .with_allow_http(config.allow_http);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder
            .build()
            .map_err(|source| ClusterError::Store { url: name, source })?;
        Ok(self.with(url, Arc::new(store)))
    }

    /// Makes the stores known to an engine.
    pub(crate) fn register(&self, runtime: &RuntimeEnv) {
        for (url, store) in &self.entries {
            runtime.register_object_store(url, Arc::clone(store));
        }
    }
}

/// The URLs alone: a store shows its key.
impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|(url, _)| url.as_str()))
            .finish()
    }
}

/// A place in a store: a file, or the prefix of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// The store's part of the URL.
    pub(crate) base: ObjectStoreUrl,
    /// What follows, as the store names it.
    pub(crate) path: Path,
}

impl Location {
    /// `file:///data/in`, `s3://bucket/prefix`, or a local path.
    pub(crate) fn parse(text: &str) -> Result<Self, ClusterError> {
        if !text.contains("://") {
            return Self::parse_local(text);
        }
        let bad = |reason: String| ClusterError::BadUrl {
            url: text.to_owned(),
            reason,
        };
        let url = parse_url(text)?;
        let path = Path::from_url_path(url.path()).map_err(|source| bad(source.to_string()))?;
        let base = ObjectStoreUrl::parse(&url[..url::Position::BeforePath])
            .map_err(|source| bad(source.to_string()))?;
        Ok(Self { base, path })
    }

    fn parse_local(text: &str) -> Result<Self, ClusterError> {
        let bad = |reason: String| ClusterError::BadUrl {
            url: text.to_owned(),
            reason,
        };
        let absolute = std::path::absolute(text).map_err(|source| bad(source.to_string()))?;
        let path = Path::from_absolute_path(absolute).map_err(|source| bad(source.to_string()))?;
        Ok(Self {
            base: ObjectStoreUrl::local_filesystem(),
            path,
        })
    }

    /// A file or folder below this place.
    pub(crate) fn join(&self, name: &str) -> Self {
        Self {
            base: self.base.clone(),
            path: name
                .split('/')
                .fold(self.path.clone(), |path, part| path.join(part)),
        }
    }

    /// The path on this machine's disks, if it is there.
    pub(crate) fn local_path(&self) -> Option<PathBuf> {
        let url = Url::parse(&self.to_string()).ok()?;
        url.to_file_path().ok()
    }

    /// The URL of another file of the same store.
    pub(crate) fn url_of(&self, path: &Path) -> String {
        let mut url = <ObjectStoreUrl as AsRef<Url>>::as_ref(&self.base).clone();
        // All but the percent sign is encoded by the URL itself.
        url.set_path(&path.as_ref().replace('%', "%25"));
        url.into()
    }

    /// The store that it lies in.
    ///
    /// # Errors
    /// [`ClusterError::UnknownStore`].
    pub(crate) fn store(&self, runtime: &RuntimeEnv) -> Result<Arc<dyn ObjectStore>, ClusterError> {
        runtime
            .object_store(&self.base)
            .map_err(|_| ClusterError::UnknownStore {
                url: self.to_string(),
            })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url_of(&self.path))
    }
}

fn parse_url(text: &str) -> Result<Url, ClusterError> {
    Url::parse(text).map_err(|source| ClusterError::BadUrl {
        url: text.to_owned(),
        reason: source.to_string(),
    })
}

#[cfg(test)]
mod tests;
