//! Reads one field after another, and never past the end.

use crate::error::{Fault, Item, ParseError};

/// A place in the bytes of a file, and the item that is being read there.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    item: Item,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            item: Item::Header,
        }
    }

    /// Names what the next fields belong to, for messages.
    pub(super) fn enter(&mut self, item: Item) {
        self.item = item;
    }

    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// An error at the current place.
    pub(super) fn error(&self, fault: Fault) -> ParseError {
        self.error_at(self.position(), fault)
    }

    pub(super) fn error_at(&self, offset: u64, fault: Fault) -> ParseError {
        ParseError {
            offset,
            item: self.item.clone(),
            fault,
        }
    }

    pub(super) fn take(&mut self, n_bytes: u64) -> Result<&'a [u8], ParseError> {
        let found = self.left();
        if n_bytes > found {
            return Err(self.error(Fault::TooShort {
                needed: n_bytes,
                found,
            }));
        }
        let begin = self.at;
        self.at += n_bytes as usize;
        Ok(&self.bytes[begin..self.at])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of things of at least `min_bytes` each, which the rest of the file can hold.
    pub(super) fn count(
        &mut self,
        what: &'static str,
        min_bytes: u64,
    ) -> Result<usize, ParseError> {
        let offset = self.position();
        let found = self.u64()?;
        let left = self.left();
        if found
            .checked_mul(min_bytes)
            .is_none_or(|needed| needed > left)
        {
            return Err(self.error_at(offset, Fault::CountBeyondFile { what, left, found }));
        }
        Ok(found as usize)
    }

    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        let n_bytes = self.count("a string length", 1)?;
        let offset = self.position();
        let bytes = self.take(n_bytes as u64)?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.error_at(offset + error.valid_up_to() as u64, Fault::NotUtf8)),
        }
    }
}
