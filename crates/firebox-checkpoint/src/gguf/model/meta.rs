//! Typed access to the metadata, with errors that name the key.

use std::{collections::BTreeMap, path::Path};

use crate::{error::ModelError, gguf::GgufValue};

/// The metadata of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meta<'a> {
    pub(super) path: &'a Path,
    pub(super) values: &'a BTreeMap<String, GgufValue>,
}

impl<'a> Meta<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a GgufValue> {
        self.values.get(key)
    }

    /// A whole number, if the key is there.
    pub(super) fn u64(&self, key: &str) -> Result<Option<u64>, ModelError> {
        self.typed(key, "a whole number", GgufValue::as_u64)
    }

    /// A finite float, if the key is there.
    pub(super) fn f64(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.typed(key, "a finite float", |value| {
            value.as_f64().filter(|x| x.is_finite())
        })
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>, ModelError> {
        self.typed(key, "a truth value", GgufValue::as_bool)
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        self.typed(key, "a text", GgufValue::as_str)
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<&'a [String]>, ModelError> {
        self.typed(key, "an array of texts", GgufValue::as_strings)
    }

    /// Whole numbers, if the key is there.
    pub(super) fn i64s(&self, key: &str) -> Result<Option<Vec<i64>>, ModelError> {
        self.typed(key, "an array of whole numbers", |value| match value {
            GgufValue::Array(array) => array.to_i64s(),
            _ => None,
        })
    }

    /// A size that is needed: a whole number from one to a bound that no model comes near, so that
    /// sums and products of sizes cannot overflow.
    pub(super) fn size(&self, key: &str) -> Result<usize, ModelError> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key))
    }

    /// Like [`Meta::size`], if the key is there.
    pub(super) fn optional_size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        const MAX: u64 = 1 << 30;
        match self.u64(key)? {
            Some(size) if (1..=MAX).contains(&size) => Ok(Some(size as usize)),
            Some(size) => Err(self.bad(key, format!("a size from 1 to {MAX}"), size.to_string())),
            None => Ok(None),
        }
    }

    pub(super) fn missing(&self, key: &str) -> ModelError {
        ModelError::MissingKey {
            path: self.path.to_owned(),
            key: key.to_owned(),
        }
    }

    pub(super) fn bad(
        &self,
        key: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> ModelError {
        ModelError::BadValue {
            path: self.path.to_owned(),
            key: key.to_owned(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        take: impl FnOnce(&'a GgufValue) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => take(value)
                .map(Some)
                .ok_or_else(|| self.bad(key, expected, value.describe())),
        }
    }
}
