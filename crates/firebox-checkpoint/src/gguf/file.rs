//! Reads and checks the metadata and the tensor list of a GGUF file.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use super::{blocks::dequantize, cursor::Cursor, kind::GgmlType, value::GgufValue};
use crate::error::{Fault, Item, ParseError};

const MAGIC: [u8; 4] = *b"GGUF";
const MAX_AXES: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// The checked head of a GGUF file.
///
/// # Examples
/// ```
/// use firebox_checkpoint::Gguf;
///
/// let no_tensors_no_metadata = [&b"GGUF"[..], &3u32.to_le_bytes(), &[0; 16]].concat();
/// assert!(Gguf::parse(&no_tensors_no_metadata)?.tensors.is_empty());
/// let forged_count = [&b"GGUF"[..], &3u32.to_le_bytes(), &[0xff; 16]].concat();
/// assert!(Gguf::parse(&forged_count).is_err());
/// # Ok::<(), firebox_checkpoint::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The metadata by key.
    pub metadata: BTreeMap<String, GgufValue>,
    /// The tensors in file order.
    pub tensors: Vec<GgufTensor>,
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name in the file, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Its shape, row-major: the slowest axis first, the reverse of the file's order.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: GgmlType,
    /// Its bytes, from the start of the file.
    pub range: Range<usize>,
}

impl GgufTensor {
    /// The decoded values, row-major.
    ///
    /// # Panics
    /// When `file` is not the file that the tensor was read from.
    pub fn decode(&self, file: &[u8]) -> Vec<f32> {
        dequantize(self.kind, &file[self.range.clone()])
    }
}

impl Gguf {
    /// Reads the head of a whole file and checks every count, length and offset against it.
    ///
    /// # Errors
    /// The first broken rule, with tensor or key and byte. Never panics, and never allocates more
    /// than a small multiple of the file's own length.
    pub fn parse(file: &[u8]) -> Result<Self, ParseError> {
        let cursor = &mut Cursor::new(file);
        let magic: [u8; 4] = cursor.array()?;
        if magic != MAGIC {
            return Err(cursor.error_at(
                0,
                Fault::NotGguf {
                    found: magic.to_vec(),
                },
            ));
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(cursor.error_at(4, Fault::GgufVersion { found: version }));
        }
        // Name length, axis count, type and offset; key length, value type and one byte.
        let n_tensors = cursor.count("a number of tensors", 8 + 4 + 4 + 8)?;
        let n_keys = cursor.count("a number of metadata keys", 8 + 4 + 1)?;
        let metadata = read_metadata(cursor, n_keys)?;
        let alignment = read_alignment(cursor, &metadata)?;
        let listed: Vec<Listed> = (0..n_tensors)
            .map(|_| Listed::read(cursor))
            .collect::<Result<_, _>>()?;
        let data_begin = cursor.position().next_multiple_of(alignment);
        let tensors = place(listed, data_begin, alignment, file.len() as u64)?;
        check_apart(&tensors)?;
        Ok(Self { metadata, tensors })
    }
}

fn read_metadata(
    cursor: &mut Cursor<'_>,
    n_keys: usize,
) -> Result<BTreeMap<String, GgufValue>, ParseError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..n_keys {
        cursor.enter(Item::Header);
        let offset = cursor.position();
        let key = cursor.string()?;
        cursor.enter(Item::Key(key.clone()));
        if metadata.contains_key(&key) {
            return Err(cursor.error_at(offset, Fault::Duplicate));
        }
        let value = GgufValue::read(cursor)?;
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn read_alignment(
    cursor: &mut Cursor<'_>,
    metadata: &BTreeMap<String, GgufValue>,
) -> Result<u64, ParseError> {
    const KEY: &str = "general.alignment";
    match metadata.get(KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(GgufValue::U32(alignment)) if alignment.is_power_of_two() => Ok((*alignment).into()),
        Some(value) => {
            cursor.enter(Item::Key(KEY.to_owned()));
            Err(cursor.error(Fault::Alignment {
                found: value.describe(),
            }))
        }
    }
}

/// A tensor as the file lists it.
struct Listed {
    name: String,
    kind: GgmlType,
    shape: Vec<u64>,
    n_bytes: u64,
    offset: u64,
    /// Where the offset stands in the file.
    stands_at: u64,
}

impl Listed {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        cursor.enter(Item::Header);
        let name = cursor.string()?;
        cursor.enter(Item::Tensor(name.clone()));
        let begin = cursor.position();
        let n_axes = cursor.u32()?;
        if n_axes > MAX_AXES {
            let fault = Fault::TooManyAxes {
                limit: MAX_AXES,
                found: n_axes,
            };
            return Err(cursor.error_at(begin, fault));
        }
        let mut shape: Vec<u64> = (0..n_axes)
            .map(|_| cursor.u64())
            .collect::<Result<_, _>>()?;
        shape.reverse();
        let kind_at = cursor.position();
        let id = cursor.u32()?;
        let Some(kind) = GgmlType::from_id(id) else {
            let known = GgmlType::ALL.map(GgmlType::name).join(", ");
            let found = GgmlType::describe_id(id);
            return Err(cursor.error_at(kind_at, Fault::Encoding { known, found }));
        };
        let n_bytes = n_bytes(kind, &shape).map_err(|fault| cursor.error_at(begin, fault))?;
        let stands_at = cursor.position();
        let offset = cursor.u64()?;
        Ok(Self {
            name,
            kind,
            shape,
            n_bytes,
            offset,
            stands_at,
        })
    }

    fn error(&self, fault: Fault) -> ParseError {
        ParseError {
            offset: self.stands_at,
            item: Item::Tensor(self.name.clone()),
            fault,
        }
    }
}

fn n_bytes(kind: GgmlType, shape: &[u64]) -> Result<u64, Fault> {
    let block = kind.block_len() as u64;
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(block) {
        return Err(Fault::PartialBlock {
            kind: kind.name(),
            block,
            row,
        });
    }
    shape
        .iter()
        .try_fold(1u64, |product, size| product.checked_mul(*size))
        .and_then(|n_elements| (n_elements / block).checked_mul(kind.block_bytes() as u64))
        // The values of a decoded tensor must be countable too.
        .filter(|_| shape.iter().all(|size| *size < 1 << 48))
        .ok_or_else(|| Fault::ShapeOverflow {
            shape: shape.to_vec(),
        })
}

/// Checks each listed tensor against the data section.
fn place(
    listed: Vec<Listed>,
    data_begin: u64,
    alignment: u64,
    file_len: u64,
) -> Result<Vec<GgufTensor>, ParseError> {
    let data = file_len.saturating_sub(data_begin);
    let mut names = HashSet::new();
    let mut tensors = Vec::with_capacity(listed.len());
    for tensor in listed {
        if !names.insert(tensor.name.clone()) {
            return Err(tensor.error(Fault::Duplicate));
        }
        let begin = tensor.offset;
        if !begin.is_multiple_of(alignment) {
            return Err(tensor.error(Fault::Misaligned {
                alignment,
                found: begin,
            }));
        }
        let end = begin.saturating_add(tensor.n_bytes);
        // Against the file, not the data section: the padding before an empty section may be missing.
        if data_begin.saturating_add(end) > file_len {
            return Err(tensor.error(Fault::OutOfRange { begin, end, data }));
        }
        tensors.push(GgufTensor {
            name: tensor.name,
            shape: tensor.shape.iter().map(|size| *size as usize).collect(),
            kind: tensor.kind,
            range: (data_begin + begin) as usize..(data_begin + end) as usize,
        });
    }
    Ok(tensors)
}

/// No two tensors share bytes.
fn check_apart(tensors: &[GgufTensor]) -> Result<(), ParseError> {
    let mut order: Vec<&GgufTensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    for pair in order.windows(2) {
        let [before, after] = pair else { continue };
        if after.range.start < before.range.end {
            return Err(ParseError {
                offset: after.range.start as u64,
                item: Item::Tensor(after.name.clone()),
                fault: Fault::Overlap {
                    other: before.name.clone(),
                },
            });
        }
    }
    Ok(())
}
