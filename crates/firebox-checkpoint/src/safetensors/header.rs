//! Reads and checks the header of a safetensors file, and makes one.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Value, json};

use super::json::{RawEntry, RawHeader};
use crate::{
    dtype::Dtype,
    error::{Fault, Item, ParseError},
};

/// The longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Bytes before the header: its length.
const PREFIX_BYTES: u64 = 8;

/// The checked header of a safetensors file.
///
/// # Examples
/// ```
/// use firebox_checkpoint::{Dtype, SafetensorsHeader};
///
/// let json = br#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
/// let file = [&(json.len() as u64).to_le_bytes()[..], json, &1.5f32.to_le_bytes()].concat();
/// let header = SafetensorsHeader::parse(&file)?;
/// assert_eq!(header.tensors["x"].dtype, Dtype::F32);
/// assert_eq!(file[header.tensors["x"].range.clone()], 1.5f32.to_le_bytes());
/// # Ok::<(), firebox_checkpoint::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorEntry>,
    /// The free text under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape, row-major.
    pub shape: Vec<usize>,
    /// Its bytes, from the start of the file.
    pub range: Range<usize>,
}

impl SafetensorsHeader {
    /// Reads the header of a whole file and checks every rule of the format: the ranges of the
    /// tensors fill the data section, without overlap and without gap, and fit shape and dtype.
    ///
    /// # Errors
    /// The first broken rule, with tensor and byte. Never panics, and never allocates more than a
    /// small multiple of the header's own length.
    pub fn parse(file: &[u8]) -> Result<Self, ParseError> {
        let (json, data_begin) = header_json(file)?;
        let at = |offset| {
            move |fault| ParseError {
                offset,
                item: Item::Header,
                fault,
            }
        };
        let raw: RawHeader = serde_json::from_slice(json).map_err(|error| {
            let offset = PREFIX_BYTES + position(json, error.line(), error.column());
            at(offset)(Fault::HeaderJson {
                found: crate::error::tame(&error.to_string()),
            })
        })?;
        if raw.has_two_metadata {
            return Err(ParseError {
                offset: PREFIX_BYTES,
                item: Item::Key("__metadata__".to_owned()),
                fault: Fault::Duplicate,
            });
        }
        let section = Section {
            json,
            begin: data_begin,
            len: file.len() as u64 - data_begin,
        };
        let mut tensors = BTreeMap::new();
        for (name, entry) in raw.entries {
            let checked = section.check(&name, &entry)?;
            if tensors.contains_key(&name) {
                return Err(section.entry_error(&name, Fault::Duplicate));
            }
            tensors.insert(name, checked);
        }
        section.check_filled(&tensors)?;
        Ok(Self {
            tensors,
            metadata: raw.metadata.unwrap_or_default(),
        })
    }
}

/// The JSON of the header, and where the data begin.
fn header_json(file: &[u8]) -> Result<(&[u8], u64), ParseError> {
    let error = |offset, fault| ParseError {
        offset,
        item: Item::Header,
        fault,
    };
    let len = file.len() as u64;
    let Some((prefix, rest)) = file.split_first_chunk::<8>() else {
        return Err(error(
            0,
            Fault::TooShort {
                needed: PREFIX_BYTES,
                found: len,
            },
        ));
    };
    let header_len = u64::from_le_bytes(*prefix);
    if header_len > rest.len() as u64 {
        return Err(error(
            0,
            Fault::HeaderBeyondFile {
                header: header_len,
                file: len,
            },
        ));
    }
    if header_len > MAX_HEADER_BYTES {
        return Err(error(
            0,
            Fault::HeaderTooLarge {
                limit: MAX_HEADER_BYTES,
                found: header_len,
            },
        ));
    }
    let json = &rest[..header_len as usize];
    if json.first() != Some(&b'{') {
        let found = format!("{:02x?}", &json[..json.len().min(8)]);
        return Err(error(PREFIX_BYTES, Fault::HeaderJson { found }));
    }
    Ok((json, PREFIX_BYTES + header_len))
}

/// The byte of serde's line and column, both counted from one.
fn position(json: &[u8], line: usize, column: usize) -> u64 {
    let before: usize = json
        .split(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(|line| line.len() + 1)
        .sum();
    (before + column.saturating_sub(1)).min(json.len()) as u64
}

/// The data section, against which entries are checked.
struct Section<'a> {
    json: &'a [u8],
    begin: u64,
    len: u64,
}

impl Section<'_> {
    fn check(&self, name: &str, entry: &RawEntry) -> Result<TensorEntry, ParseError> {
        let fail = |fault| Err(self.entry_error(name, fault));
        let (begin, end) = entry.data_offsets;
        let Some(dtype) = Dtype::from_header(&entry.dtype) else {
            let found = crate::error::tame(&entry.dtype);
            return fail(Fault::UnknownDtype {
                known: Dtype::known(),
                found,
            });
        };
        let n_bytes = entry
            .shape
            .iter()
            .try_fold(dtype.n_bytes() as u64, |product, size| {
                product.checked_mul(*size)
            });
        let Some(expected) = n_bytes else {
            return fail(Fault::ShapeOverflow {
                shape: short(&entry.shape),
            });
        };
        if begin > end || end > self.len {
            return fail(Fault::OutOfRange {
                begin,
                end,
                data: self.len,
            });
        }
        if end - begin != expected {
            let (dtype, shape) = (dtype.to_string(), short(&entry.shape));
            return fail(Fault::SizeMismatch {
                dtype,
                shape,
                expected,
                found: end - begin,
            });
        }
        let shape = entry.shape.iter().map(|size| *size as usize).collect();
        let range = (self.begin + begin) as usize..(self.begin + end) as usize;
        Ok(TensorEntry {
            dtype,
            shape,
            range,
        })
    }

    /// Every byte of the section belongs to one tensor.
    fn check_filled(&self, tensors: &BTreeMap<String, TensorEntry>) -> Result<(), ParseError> {
        let mut order: Vec<_> = tensors.iter().collect();
        order.sort_by_key(|(_, entry)| (entry.range.start, entry.range.end));
        let mut filled = self.begin;
        let mut last = "";
        for (name, entry) in order {
            let start = entry.range.start as u64;
            let fault = if start < filled {
                Fault::Overlap {
                    other: last.to_owned(),
                }
            } else if start > filled {
                Fault::Gap {
                    expected: filled,
                    found: start,
                }
            } else {
                (filled, last) = (entry.range.end as u64, name);
                continue;
            };
            return Err(ParseError {
                offset: start,
                item: Item::Tensor(name.clone()),
                fault,
            });
        }
        let (expected, found) = (filled - self.begin, self.len);
        if expected == found {
            return Ok(());
        }
        let fault = Fault::TrailingBytes { expected, found };
        Err(ParseError {
            offset: filled,
            item: Item::Header,
            fault,
        })
    }

    /// At the place in the header where the name stands.
    fn entry_error(&self, name: &str, fault: Fault) -> ParseError {
        let quoted = format!("\"{name}\"");
        let at = self
            .json
            .windows(quoted.len())
            .rposition(|window| window == quoted.as_bytes());
        let offset = PREFIX_BYTES + at.unwrap_or(0) as u64;
        ParseError {
            offset,
            item: Item::Tensor(name.to_owned()),
            fault,
        }
    }
}

/// A shape for a message: a forged one can have millions of axes.
fn short(shape: &[u64]) -> Vec<u64> {
    shape.iter().copied().take(8).collect()
}

/// A tensor that a new header lists.
#[derive(Debug, Clone)]
pub(crate) struct PlannedTensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) n_bytes: usize,
}

/// Length and header of a file with these tensors in this order, padded with spaces to a multiple
/// of eight, as the `safetensors` library pads it.
pub(crate) fn header_bytes(metadata: &[(&str, &str)], tensors: &[PlannedTensor]) -> Vec<u8> {
    let metadata: Map<String, Value> = metadata
        .iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect();
    let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
    let mut begin = 0;
    for tensor in tensors {
        let end = begin + tensor.n_bytes;
        let entry = json!({
            "dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [begin, end],
        });
        header.insert(tensor.name.clone(), entry);
        begin = end;
    }
    let mut json = Value::Object(header).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}
