//! The symbols that a word consists of before anything is merged.

use rustc_hash::FxHashMap;

use super::char_class::decode;

/// What stands for a character or byte that the vocabulary lacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown {
    /// The unknown token; without one such characters vanish.
    pub(super) id: Option<u32>,
    /// Whether a run of them is one token.
    pub(super) is_fused: bool,
}

/// From characters or bytes to ids.
#[derive(Debug)]
pub(super) enum Symbols {
    /// One symbol a byte.
    Bytes {
        ids: Vec<Option<u32>>,
        unknown: Unknown,
    },
    /// One symbol a character, or one a byte where the vocabulary lacks it.
    Chars {
        ids: FxHashMap<u32, u32>,
        /// The ids of the 256 bytes.
        byte_ids: Option<Vec<u32>>,
        unknown: Unknown,
    },
}

impl Symbols {
    /// Appends the symbols of a word, the bytes of a `str`.
    pub(super) fn push(&self, word: &[u8], symbols: &mut Vec<u32>) {
        match self {
            Self::Bytes { ids, unknown } => {
                let ids = word.iter().map(|&byte| ids[byte as usize]);
                push_known(ids, *unknown, symbols);
            }
            Self::Chars {
                ids,
                byte_ids: Some(byte_ids),
                ..
            } => {
                for (character, bytes) in chars(word) {
                    match ids.get(&character) {
                        Some(&id) => symbols.push(id),
                        None => symbols.extend(bytes.iter().map(|&byte| byte_ids[byte as usize])),
                    }
                }
            }
            Self::Chars { ids, unknown, .. } => {
                let ids = chars(word).map(|(character, _)| ids.get(&character).copied());
                push_known(ids, *unknown, symbols);
            }
        }
    }
}

/// The characters of the bytes of a `str`, with their bytes.
fn chars(word: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (character, n_bytes) = decode(rest, 0);
        let (bytes, behind) = rest.split_at(n_bytes);
        rest = behind;
        Some((character, bytes))
    })
}

fn push_known(ids: impl Iterator<Item = Option<u32>>, unknown: Unknown, symbols: &mut Vec<u32>) {
    let mut in_unknown = false;
    for id in ids {
        match (id, unknown.id) {
            (Some(id), _) => {
                symbols.push(id);
                in_unknown = false;
            }
            (None, Some(unknown_id)) => {
                if !(in_unknown && unknown.is_fused) {
                    symbols.push(unknown_id);
                }
                in_unknown = true;
            }
            (None, None) => {}
        }
    }
}
