//! Metadata values: the thirteen types of GGUF.

use super::cursor::Cursor;
use crate::error::{Fault, ParseError};

/// Arrays in arrays deeper than this are refused.
const MAX_DEPTH: usize = 4;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each variant holds the type that it is named after"
)]
pub enum GgufValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(GgufArray),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Metadata values of one type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "each variant holds the type that it is named after"
)]
pub enum GgufArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<GgufArray>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl GgufValue {
    /// A whole number that is not negative, of any integer type.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::U8(x) => Some((*x).into()),
            Self::U16(x) => Some((*x).into()),
            Self::U32(x) => Some((*x).into()),
            Self::U64(x) => Some(*x),
            Self::I8(x) => (*x).try_into().ok(),
            Self::I16(x) => (*x).try_into().ok(),
            Self::I32(x) => (*x).try_into().ok(),
            Self::I64(x) => (*x).try_into().ok(),
            _ => None,
        }
    }

    /// A float. One of 32 bits becomes the shortest decimal that names it: `1e-5`, not
    /// `9.999999747378752e-6`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F32(x) => x.to_string().parse().ok(),
            Self::F64(x) => Some(*x),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(x) = self {
            Some(*x)
        } else {
            None
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// An array of texts.
    pub fn as_strings(&self) -> Option<&[String]> {
        if let Self::Array(GgufArray::String(texts)) = self {
            Some(texts)
        } else {
            None
        }
    }

    /// The value's kind and, for short ones, the value, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::String(text) => format!("the text `{}`", crate::error::tame(text)),
            Self::Array(_) => "an array".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// Reads a type and a value of it.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, ParseError> {
        let offset = cursor.position();
        Ok(match cursor.u32()? {
            0 => Self::U8(u8::from_le_bytes(cursor.array()?)),
            1 => Self::I8(i8::from_le_bytes(cursor.array()?)),
            2 => Self::U16(u16::from_le_bytes(cursor.array()?)),
            3 => Self::I16(i16::from_le_bytes(cursor.array()?)),
            4 => Self::U32(u32::from_le_bytes(cursor.array()?)),
            5 => Self::I32(i32::from_le_bytes(cursor.array()?)),
            6 => Self::F32(f32::from_le_bytes(cursor.array()?)),
            7 => Self::Bool(read_bool(cursor)?),
            8 => Self::String(cursor.string()?),
            9 => Self::Array(GgufArray::read(cursor, 1)?),
            10 => Self::U64(u64::from_le_bytes(cursor.array()?)),
            11 => Self::I64(i64::from_le_bytes(cursor.array()?)),
            12 => Self::F64(f64::from_le_bytes(cursor.array()?)),
            found => return Err(cursor.error_at(offset, Fault::ValueType { found })),
        })
    }
}

impl GgufArray {
    /// Whole numbers of any integer type.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match self {
            Self::U8(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::I8(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::U16(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::I16(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::U32(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::I32(xs) => Some(xs.iter().map(|x| (*x).into()).collect()),
            Self::I64(xs) => Some(xs.clone()),
            Self::U64(xs) => xs.iter().map(|x| (*x).try_into().ok()).collect(),
            _ => None,
        }
    }

    fn read(cursor: &mut Cursor<'_>, depth: usize) -> Result<Self, ParseError> {
        /// A string has a length, an array a type and a length.
        const MIN_BYTES: [u64; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];
        let offset = cursor.position();
        if depth > MAX_DEPTH {
            return Err(cursor.error(Fault::NestedTooDeep { limit: MAX_DEPTH }));
        }
        let kind = cursor.u32()?;
        let Some(min_bytes) = MIN_BYTES.get(kind as usize) else {
            return Err(cursor.error_at(offset, Fault::ValueType { found: kind }));
        };
        let len = cursor.count("an array length", *min_bytes)?;
        Ok(match kind {
            0 => Self::U8(numbers(cursor, len, u8::from_le_bytes)?),
            1 => Self::I8(numbers(cursor, len, i8::from_le_bytes)?),
            2 => Self::U16(numbers(cursor, len, u16::from_le_bytes)?),
            3 => Self::I16(numbers(cursor, len, i16::from_le_bytes)?),
            4 => Self::U32(numbers(cursor, len, u32::from_le_bytes)?),
            5 => Self::I32(numbers(cursor, len, i32::from_le_bytes)?),
            6 => Self::F32(numbers(cursor, len, f32::from_le_bytes)?),
            7 => Self::Bool(
                (0..len)
                    .map(|_| read_bool(cursor))
                    .collect::<Result<_, _>>()?,
            ),
            8 => Self::String(
                (0..len)
                    .map(|_| cursor.string())
                    .collect::<Result<_, _>>()?,
            ),
            9 => Self::Array(
                (0..len)
                    .map(|_| Self::read(cursor, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            10 => Self::U64(numbers(cursor, len, u64::from_le_bytes)?),
            11 => Self::I64(numbers(cursor, len, i64::from_le_bytes)?),
            _ => Self::F64(numbers(cursor, len, f64::from_le_bytes)?),
        })
    }
}

/// `len` numbers of `N` bytes each, wherever they lie.
fn numbers<const N: usize, T>(
    cursor: &mut Cursor<'_>,
    len: usize,
    from_le_bytes: fn([u8; N]) -> T,
) -> Result<Vec<T>, ParseError> {
    let (numbers, _) = cursor.take((len * N) as u64)?.as_chunks::<N>();
    Ok(numbers.iter().map(|bytes| from_le_bytes(*bytes)).collect())
}

fn read_bool(cursor: &mut Cursor<'_>) -> Result<bool, ParseError> {
    let offset = cursor.position();
    match cursor.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [found] => Err(cursor.error_at(offset, Fault::NotABool { found })),
    }
}
