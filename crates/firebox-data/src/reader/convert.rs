//! From the block reader's words to those of the record iterators.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use serde::de::Error as _;

use crate::source::{BrokenReason, BrokenRecord, SourceError};
use crate::{DataError, Document, Place, PlaceUnit, TextRecord};

/// A document that owns its text.
pub(crate) fn record_of_document(document: Document<'_>) -> TextRecord {
    TextRecord {
        id: document.id.map(Cow::into_owned),
        title: document.title.map(Cow::into_owned),
        text: document.text.into_owned(),
        year: document.year,
        mesh_terms: document
            .mesh_terms
            .into_iter()
            .map(Cow::into_owned)
            .collect(),
    }
}

pub(super) fn record_error(broken: BrokenRecord) -> DataError {
    let place = broken.place;
    match broken.reason {
        BrokenReason::TooLarge { limit_bytes } => DataError::RecordTooLarge { place, limit_bytes },
        BrokenReason::NotUtf8 { valid_bytes } => DataError::NotUtf8 { place, valid_bytes },
        BrokenReason::Json { message } => DataError::Json {
            place,
            source: serde_json::Error::custom(message),
        },
        BrokenReason::WrongFields { expected, found } => DataError::WrongFields {
            place,
            expected: "a row that fits its table".to_owned(),
            found: format!("{found} instead of {expected}"),
        },
        BrokenReason::Xml { byte, source } => DataError::Xml {
            place,
            byte,
            source,
        },
        BrokenReason::XmlContent {
            byte,
            expected,
            found,
            hint,
        } => DataError::XmlContent {
            place,
            byte,
            expected,
            found,
            hint,
        },
    }
}

pub(super) fn data_error(error: SourceError) -> DataError {
    match error {
        SourceError::NoFiles { pattern } => DataError::NoFiles { pattern },
        SourceError::BadGlob { pattern, source } => DataError::BadGlob { pattern, source },
        SourceError::UnknownExtension { path } => DataError::UnknownExtension { path },
        SourceError::Open { path, source } => DataError::Open { path, source },
        SourceError::Read { place, source } => DataError::Read { place, source },
        SourceError::MissingColumn {
            path,
            expected,
            found,
        } => DataError::WrongFields {
            place: Place {
                path,
                unit: PlaceUnit::Line,
                number: 1,
            },
            expected: format!("a column `{expected}`"),
            found,
        },
        #[cfg(feature = "parquet")]
        SourceError::Parquet { place, source } => DataError::Read {
            place,
            source: io::Error::other(source),
        },
        SourceError::NotBuilt { ref path, .. }
        | SourceError::NotSeekable { ref path }
        | SourceError::WrongColumn { ref path, .. } => DataError::Open {
            path: path.clone(),
            source: io::Error::other(error),
        },
        SourceError::TooManyBroken { .. } => DataError::Open {
            path: PathBuf::new(),
            source: io::Error::other(error),
        },
    }
}
