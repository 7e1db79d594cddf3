//! The JSON of a safetensors header, with names in file order and duplicates kept for the check.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};

/// One entry of the header, not yet checked.
#[derive(Debug, Deserialize)]
pub(super) struct RawEntry {
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) data_offsets: (u64, u64),
}

/// The whole header, not yet checked.
#[derive(Debug, Default)]
pub(super) struct RawHeader {
    pub(super) metadata: Option<BTreeMap<String, String>>,
    pub(super) has_two_metadata: bool,
    pub(super) entries: Vec<(String, RawEntry)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from tensor names to dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.has_two_metadata |= header.metadata.is_some();
                header.metadata = Some(map.next_value()?);
            } else {
                header.entries.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}
