//! A word to token ids.

use rustc_hash::FxHashMap;

use super::merges::{MergeBuffers, MergeTable};
use super::safe_cuts::SafeCuts;
use super::symbols::Symbols;
use super::word_cache::{MAX_SHORT_BYTES, ShortKey, WordCache};

/// ASCII words of more bytes are encoded in parts; nearly all pairs of letters are in some token, so
/// that trying it on words is in vain.
const MAX_WHOLE_ASCII_BYTES: usize = 64;

/// Byte-pair encoding on ids.
#[derive(Debug)]
pub(super) struct BpeModel {
    pub(super) symbols: Symbols,
    pub(super) merges: MergeTable,
    /// Where words may be cut, if anywhere.
    pub(super) cuts: Option<SafeCuts>,
    /// Words that are tokens whatever the merges say (`ignore_merges`).
    pub(super) whole_words: Option<FxHashMap<Box<[u8]>, u32>>,
}

/// Memory of one thread.
#[derive(Debug, Default)]
pub(super) struct WordBuffers {
    cache: WordCache,
    symbols: Vec<u32>,
    merge: MergeBuffers,
}

impl BpeModel {
    /// Appends the ids of the word `text[start..end]`, whole characters and not empty.
    #[inline]
    pub(super) fn push_word(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        buffers: &mut WordBuffers,
        ids: &mut Vec<u32>,
    ) {
        if end - start <= MAX_SHORT_BYTES {
            let key = ShortKey::new(text, start, end, false);
            if key.is_ascii() || self.cuts.is_none() {
                if !buffers.cache.push_short(key, ids) {
                    self.push_new_short_word(&text[start..end], key, buffers, ids);
                }
                return;
            }
        }
        self.push_long_word(text, (start, end), buffers, ids);
    }

    #[cold]
    fn push_new_short_word(
        &self,
        word: &[u8],
        key: ShortKey,
        buffers: &mut WordBuffers,
        ids: &mut Vec<u32>,
    ) {
        let first = ids.len();
        match self.whole_word(word) {
            Some(id) => ids.push(id),
            None => self.push_merged(word, buffers, ids),
        }
        buffers.cache.insert_short(key, &ids[first..]);
    }

    /// A word that is long or has other characters than ASCII.
    fn push_long_word(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        buffers: &mut WordBuffers,
        ids: &mut Vec<u32>,
    ) {
        let word = &text[start..end];
        if let Some(id) = self.whole_word(word) {
            ids.push(id);
            return;
        }
        match &self.cuts {
            Some(cuts) if word.len() > MAX_WHOLE_ASCII_BYTES || !word.is_ascii() => {
                cuts.for_each_part(text, start, end, |start, end| {
                    self.push_part(text, (start, end), buffers, ids);
                });
            }
            _ => self.push_cached_long(word, buffers, ids),
        }
    }

    /// A part of a word. Without `ignore_merges`, a part is encoded as the same word is.
    #[inline]
    fn push_part(
        &self,
        text: &[u8],
        (start, end): (usize, usize),
        buffers: &mut WordBuffers,
        ids: &mut Vec<u32>,
    ) {
        let part = &text[start..end];
        if part.len() > MAX_SHORT_BYTES {
            return self.push_cached_long(part, buffers, ids);
        }
        let key = ShortKey::new(text, start, end, self.whole_words.is_some());
        if !buffers.cache.push_short(key, ids) {
            let first = ids.len();
            self.push_merged(part, buffers, ids);
            buffers.cache.insert_short(key, &ids[first..]);
        }
    }

    fn push_cached_long(&self, word: &[u8], buffers: &mut WordBuffers, ids: &mut Vec<u32>) {
        if !buffers.cache.push_long(word, ids) {
            let first = ids.len();
            self.push_merged(word, buffers, ids);
            buffers.cache.insert_long(word, &ids[first..]);
        }
    }

    fn whole_word(&self, word: &[u8]) -> Option<u32> {
        self.whole_words.as_ref()?.get(word).copied()
    }

    fn push_merged(&self, word: &[u8], buffers: &mut WordBuffers, ids: &mut Vec<u32>) {
        buffers.symbols.clear();
        self.symbols.push(word, &mut buffers.symbols);
        self.merges.merge(&mut buffers.symbols, &mut buffers.merge);
        ids.extend_from_slice(&buffers.symbols);
    }
}
