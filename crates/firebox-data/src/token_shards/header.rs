//! The first 128 bytes of a token shard.
//!
//! All numbers are little-endian.
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..8 | `FBTOKENS` |
//! | 8..12 | format version, 1 |
//! | 12..16 | bytes of a token: 2 up to 65,536 ids, else 4 |
//! | 16..24 | flags: bit 0, there is a loss mask |
//! | 24..32 | ids in the vocabulary |
//! | 32..40 | hash of the vocabulary |
//! | 40..48 | documents |
//! | 48..56 | tokens |
//! | 56..64 | XXH3-64 of everything behind the header |
//! | 64..120 | zero |
//! | 120..128 | XXH3-64 of bytes 0..120 |
//!
//! Then come the tokens, filled up with zeros to 8 bytes; the mask, if there is one, a bit a token
//! in words of 64 bits from the lowest; and where each document begins, counted in tokens, in 64
//! bits, with the number of tokens at the end.

use xxhash_rust::xxh3::xxh3_64;

use super::{HeaderFault, Vocabulary};

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 128;

const MAGIC: [u8; 8] = *b"FBTOKENS";
const VERSION: u32 = 1;
const CHECKSUM_AT: usize = 120;
const FLAG_MASK: u64 = 1;

/// What a token shard holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardHeader {
    /// The tokenizer's.
    pub vocabulary: Vocabulary,
    /// Documents.
    pub n_documents: u64,
    /// Tokens of all of them.
    pub n_tokens: u64,
    /// Whether each token has a bit that says if there is loss on it; without, there is on all.
    pub has_loss_mask: bool,
    /// XXH3-64 of everything behind the header.
    pub checksum: u64,
}

impl ShardHeader {
    /// Bytes of a token.
    #[must_use]
    pub fn token_bytes(&self) -> usize {
        token_bytes(self.vocabulary.size)
    }

    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.token_bytes() as u32).to_le_bytes());
        put(16, &u64::from(self.has_loss_mask).to_le_bytes());
        put(24, &self.vocabulary.size.to_le_bytes());
        put(32, &self.vocabulary.hash.to_le_bytes());
        put(40, &self.n_documents.to_le_bytes());
        put(48, &self.n_tokens.to_le_bytes());
        put(56, &self.checksum.to_le_bytes());
        let checksum = xxh3_64(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of a file of `file_bytes`, of which `bytes` are the first.
    pub(super) fn parse(bytes: &[u8], file_bytes: u64) -> Result<Self, HeaderFault> {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(HeaderFault::TooShort {
                expected: HEADER_BYTES as u64,
                found: file_bytes,
            });
        };
        let magic: [u8; 8] = field(bytes, 0);
        if magic != MAGIC {
            return Err(HeaderFault::Magic { found: magic });
        }
        let u32_at = |at| u32::from_le_bytes(field(bytes, at));
        let u64_at = |at| u64::from_le_bytes(field(bytes, at));
        let version = u32_at(8);
        if version != VERSION {
            return Err(HeaderFault::Version {
                expected: VERSION,
                found: version,
            });
        }
        let (expected, found) = (u64_at(CHECKSUM_AT), xxh3_64(&bytes[..CHECKSUM_AT]));
        if expected != found {
            return Err(HeaderFault::Checksum { expected, found });
        }
        let header = Self {
            vocabulary: Vocabulary {
                size: u64_at(24),
                hash: u64_at(32),
            },
            n_documents: u64_at(40),
            n_tokens: u64_at(48),
            has_loss_mask: u64_at(16) & FLAG_MASK != 0,
            checksum: u64_at(56),
        };
        header.check(u64::from(u32_at(12)), u64_at(16), file_bytes)?;
        Ok(header)
    }

    fn check(&self, token_bytes: u64, flags: u64, file_bytes: u64) -> Result<(), HeaderFault> {
        let fault = |name, expected, found| HeaderFault::Value {
            name,
            expected,
            found,
        };
        if token_bytes != self.token_bytes() as u64 {
            let expected = "of 2 for up to 65,536 ids, else of 4";
            return Err(fault("bytes of a token", expected, token_bytes));
        }
        if flags > FLAG_MASK {
            return Err(fault("flags", "of 0 or 1", flags));
        }
        if self.vocabulary.size > 1 << 32 {
            let found = self.vocabulary.size;
            return Err(fault("ids in the vocabulary", "up to 2^32", found));
        }
        let expected = self.layout().2 + 8 * (u128::from(self.n_documents) + 1);
        if expected != u128::from(file_bytes) {
            return Err(HeaderFault::Length {
                expected,
                found: file_bytes,
                n_documents: self.n_documents,
                n_tokens: self.n_tokens,
            });
        }
        Ok(())
    }

    /// Where the tokens end, where the mask begins and where the index begins, in bytes of the file.
    /// Wide enough for whatever a header may claim.
    pub(super) fn layout(&self) -> (u128, u128, u128) {
        let n_tokens = u128::from(self.n_tokens);
        let tokens_end = HEADER_BYTES as u128 + n_tokens * self.token_bytes() as u128;
        let mask_start = tokens_end.next_multiple_of(8);
        let mask_bytes = match self.has_loss_mask {
            true => n_tokens.div_ceil(64) * 8,
            false => 0,
        };
        (tokens_end, mask_start, mask_start + mask_bytes)
    }
}

/// Bytes that hold any id of a vocabulary.
pub(super) fn token_bytes(vocab_size: u64) -> usize {
    if vocab_size <= 1 << 16 { 2 } else { 4 }
}

/// Bytes of a header, from `at` on.
fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
