//! Which tokenizer made the ids.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::{ShardError, Tokenizer};

/// Parts of a `tokenizer.json` that do not change the ids of a text.
const PARTS_WITHOUT_IDS: [&str; 5] = [
    "version",
    "truncation",
    "padding",
    "post_processor",
    "decoder",
];

/// What token shards remember of the tokenizer that made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// The largest id plus one.
    pub size: u64,
    /// Changes with anything that changes the ids of a text.
    pub hash: u64,
}

impl Vocabulary {
    /// The vocabulary of a tokenizer: a hash over its tokens, merges, normalizer and pre-tokenizer,
    /// however the file writes them (order of fields, blanks, merges as strings or pairs, and fields
    /// that are null or false make no difference).
    ///
    /// # Errors
    /// [`ShardError::Vocabulary`].
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, ShardError> {
        let json = tokenizer.to_json();
        let mut value: Value =
            serde_json::from_slice(json).map_err(|source| ShardError::Vocabulary { source })?;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|name, _| !PARTS_WITHOUT_IDS.contains(&name.as_str()));
        }
        if let Some(merges) = value
            .pointer_mut("/model/merges")
            .and_then(Value::as_array_mut)
        {
            merges.iter_mut().for_each(to_pair);
        }
        Ok(Self {
            size: tokenizer.vocab_size() as u64,
            hash: xxh3_64(canonical(value).to_string().as_bytes()),
        })
    }
}

/// `"a b"` as `["a", "b"]`, as newer files write it.
fn to_pair(merge: &mut Value) {
    if let Some((left, right)) = merge.as_str().and_then(|merge| merge.split_once(' ')) {
        *merge = Value::from([left, right].map(String::from).to_vec());
    }
}

/// The same value with sorted fields, and without those that say nothing.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields
                .into_iter()
                .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
                .map(|(name, value)| (name, canonical(value)))
                .collect();
            fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Map::from_iter(fields))
        }
        other => other,
    }
}
