//! The single-byte encodings that UTF-8 is read as by mistake, from characters back to bytes.

use std::sync::LazyLock;

use encoding_rs::{Encoding, MACINTOSH, WINDOWS_1251, WINDOWS_1252};
use rustc_hash::FxHashMap;

/// A single-byte encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteEncoding {
    /// Windows-1252, with Latin-1's control characters for what it has in place of them: text is read as
    /// either, and both at once happen.
    Windows1252,
    Windows1251,
    MacRoman,
}

impl ByteEncoding {
    pub(super) const ALL: [Self; 3] = [Self::Windows1252, Self::Windows1251, Self::MacRoman];

    /// The byte above 0x7F that this encoding reads as `character`.
    pub(super) fn byte(self, character: char) -> Option<u8> {
        match (self, u32::from(character)) {
            (_, 0..0x80) => None,
            (Self::Windows1252, code @ 0x80..=0xff) => u8::try_from(code).ok(),
            (Self::Windows1252, _) => WINDOWS_1252_BYTES.get(&character).copied(),
            (Self::Windows1251, _) => WINDOWS_1251_BYTES.get(&character).copied(),
            (Self::MacRoman, _) => MAC_ROMAN_BYTES.get(&character).copied(),
        }
    }

    /// Whether `character` may be the first byte of the UTF-8 that this encoding is looked at for: any
    /// in Windows-1252; Cyrillic, punctuation and Latin-1 in the others. It rules out quickly.
    pub(super) fn is_first(self, character: char) -> bool {
        match self {
            Self::Windows1252 => matches!(character, '\u{c2}'..='\u{f4}'),
            Self::Windows1251 => matches!(character, 'Р' | 'С' | 'в'),
            Self::MacRoman => matches!(character, '√' | '‚'),
        }
    }
}

static WINDOWS_1252_BYTES: LazyLock<FxHashMap<char, u8>> = LazyLock::new(|| bytes_of(WINDOWS_1252));
static WINDOWS_1251_BYTES: LazyLock<FxHashMap<char, u8>> = LazyLock::new(|| bytes_of(WINDOWS_1251));
static MAC_ROMAN_BYTES: LazyLock<FxHashMap<char, u8>> = LazyLock::new(|| bytes_of(MACINTOSH));

fn bytes_of(encoding: &'static Encoding) -> FxHashMap<char, u8> {
    (0x80..=0xff)
        .filter_map(|byte: u8| {
            let bytes = [byte];
            let (text, _) = encoding.decode_without_bom_handling(&bytes);
            text.chars().next().map(|character| (character, byte))
        })
        .collect()
}

/// What Windows-1252 has in the place of a C1 control character, if that is no control character too.
pub(super) fn read_c1(character: char) -> Option<char> {
    let byte = u8::try_from(u32::from(character))
        .ok()
        .filter(|byte| (0x80..0xa0).contains(byte))?;
    let bytes = [byte];
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(&bytes);
    text.chars()
        .next()
        .filter(|read| !read.is_control() && *read != char::REPLACEMENT_CHARACTER)
}
