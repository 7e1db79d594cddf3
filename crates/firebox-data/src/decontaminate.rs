//! Decontamination: documents that hold parts of evaluation sets.

mod config;
mod error;
mod index;
mod report;

pub use config::{ContaminatedAction, DecontaminateConfig};
pub use error::DecontaminateError;
pub use index::{Contamination, EvaluationIndex};
pub use report::{ContaminatedBySet, ContaminatedDocument, DecontaminateReport};
