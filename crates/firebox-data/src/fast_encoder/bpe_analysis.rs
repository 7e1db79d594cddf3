//! The model of a `tokenizer.json`, on ids.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use tokenizers::ModelWrapper;
use tokenizers::models::bpe::BPE;

use super::fallback_reason::FallbackReason;
use super::merges::MergeTable;
use super::model::BpeModel;
use super::safe_cuts::SafeCuts;
use super::symbols::{Symbols, Unknown};

/// What one symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SymbolUnit {
    /// A byte, written as one of 256 characters.
    Byte,
    /// A character.
    Char,
}

#[derive(Deserialize)]
struct Definition {
    model: ModelDefinition,
}

#[derive(Deserialize)]
struct ModelDefinition {
    merges: Vec<Merge>,
}

/// A merge: `"left right"`, or `["left", "right"]` in newer files.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Text(String),
}

impl Merge {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Text(text) => text.split_once(' '),
        }
    }
}

/// The model on ids, if it is BPE without options that change its merges.
pub(super) fn bpe_model(
    model: &ModelWrapper,
    json: &[u8],
    unit: SymbolUnit,
) -> Result<BpeModel, FallbackReason> {
    let bpe = match model {
        ModelWrapper::BPE(bpe) => bpe,
        ModelWrapper::WordPiece(_) => return Err(FallbackReason::Model { found: "WordPiece" }),
        ModelWrapper::WordLevel(_) => return Err(FallbackReason::Model { found: "WordLevel" }),
        ModelWrapper::Unigram(_) => return Err(FallbackReason::Model { found: "Unigram" }),
    };
    check_options(bpe)?;
    let vocab = bpe.get_vocab();
    if vocab.values().any(|&id| id == u32::MAX) {
        return Err(unusual("an id of 2^32 - 1"));
    }
    let definition: Definition =
        serde_json::from_slice(json).map_err(|_| unusual("merges of an unknown form"))?;
    let merges = definition.model.merges;
    let symbols = symbols(bpe, &vocab, unit)?;
    Ok(BpeModel {
        cuts: cuts(&merges, &symbols),
        merges: merge_table(&merges, &vocab)?,
        whole_words: bpe.ignore_merges.then(|| whole_words(&vocab, unit)),
        symbols,
    })
}

fn unusual(found: &'static str) -> FallbackReason {
    FallbackReason::Vocabulary { found }
}

fn check_options(bpe: &BPE) -> Result<(), FallbackReason> {
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let option = if bpe.dropout.is_some_and(|dropout| dropout > 0.0) {
        "dropout"
    } else if is_set(&bpe.continuing_subword_prefix) {
        "continuing_subword_prefix"
    } else if is_set(&bpe.end_of_word_suffix) {
        "end_of_word_suffix"
    } else {
        return Ok(());
    };
    Err(FallbackReason::ModelOption { option })
}

fn symbols(
    bpe: &BPE,
    vocab: &HashMap<String, u32>,
    unit: SymbolUnit,
) -> Result<Symbols, FallbackReason> {
    let unknown = Unknown {
        id: match &bpe.unk_token {
            Some(token) => Some(vocab.get(token).copied().ok_or_else(|| {
                // Only an error once something is unknown, which the crate reports.
                unusual("an unknown token outside the vocabulary")
            })?),
            None => None,
        },
        is_fused: bpe.fuse_unk,
    };
    let byte_ids = match bpe.byte_fallback {
        false => None,
        true => Some(fallback_bytes(vocab)?),
    };
    if unit == SymbolUnit::Char {
        let chars = vocab.iter().filter_map(|(token, &id)| {
            let mut chars = token.chars();
            let first = chars.next()?;
            chars.next().is_none().then_some((first as u32, id))
        });
        return Ok(Symbols::Chars {
            ids: chars.collect(),
            byte_ids,
            unknown,
        });
    }
    let alphabet = byte_chars();
    let ids: Vec<_> = alphabet
        .iter()
        .map(|character| vocab.get(&character.to_string()).copied())
        .collect();
    if byte_ids.is_some() && ids.contains(&None) {
        return Err(unusual("byte_fallback for bytes that are symbols"));
    }
    Ok(Symbols::Bytes { ids, unknown })
}

/// The ids of `<0x00>` to `<0xFF>`.
fn fallback_bytes(vocab: &HashMap<String, u32>) -> Result<Vec<u32>, FallbackReason> {
    let ids = (0..=u8::MAX).map(|byte| vocab.get(&format!("<0x{byte:02X}>")).copied());
    ids.collect::<Option<_>>()
        .ok_or_else(|| unusual("byte_fallback, but not all 256 bytes"))
}

fn merge_table(
    merges: &[Merge],
    vocab: &HashMap<String, u32>,
) -> Result<MergeTable, FallbackReason> {
    let ids = merges.iter().map(|merge| {
        let (left, right) = merge.parts()?;
        if left.is_empty() || right.is_empty() {
            return None;
        }
        let merged = vocab.get(&[left, right].concat())?;
        Some((*vocab.get(left)?, *vocab.get(right)?, *merged))
    });
    let ids: Option<Vec<_>> = ids.collect();
    let ids = ids.ok_or_else(|| unusual("a merge of or into what is no token"))?;
    Ok(MergeTable::new(&ids))
}

/// Where words may be cut; nowhere if symbols may stand for something else than their own text.
fn cuts(merges: &[Merge], symbols: &Symbols) -> Option<SafeCuts> {
    let mut cuts = SafeCuts::new();
    let tokens = merges.iter().filter_map(Merge::parts);
    match symbols {
        Symbols::Bytes { ids, .. } => {
            let bytes = char_bytes();
            for (left, right) in tokens {
                // A part that is no text of bytes is a special token: it is no symbol of a word,
                // unless unknown bytes become it, and beside those nothing is cut.
                let token = left.chars().chain(right.chars());
                let token: Option<Vec<u8>> = token.map(|c| bytes.get(&c).copied()).collect();
                if let Some(token) = token {
                    cuts.add_token(&token);
                }
            }
            for (byte, _) in (0..=u8::MAX).zip(ids).filter(|(_, id)| id.is_none()) {
                cuts.forbid_beside(byte);
            }
        }
        Symbols::Chars {
            byte_ids: Some(_), ..
        } => {
            for (left, right) in tokens {
                if is_fallback_byte(left) || is_fallback_byte(right) {
                    return None;
                }
                cuts.add_token([left, right].concat().as_bytes());
            }
        }
        // An unknown character vanishes or joins the next; its neighbours become neighbours.
        Symbols::Chars { .. } => return None,
    }
    Some(cuts)
}

fn is_fallback_byte(token: &str) -> bool {
    token.len() == 6 && token.starts_with("<0x") && token.ends_with('>')
}

/// Every token, by the bytes or characters that it stands for.
fn whole_words(vocab: &HashMap<String, u32>, unit: SymbolUnit) -> FxHashMap<Box<[u8]>, u32> {
    let bytes = char_bytes();
    let words = vocab.iter().filter_map(|(token, &id)| {
        let word: Vec<u8> = match unit {
            SymbolUnit::Char => token.as_bytes().to_vec(),
            SymbolUnit::Byte => token
                .chars()
                .map(|c| bytes.get(&c).copied())
                .collect::<Option<_>>()?,
        };
        Some((word.into_boxed_slice(), id))
    });
    words.collect()
}

/// The byte that byte-level models mean by each character.
pub(crate) fn char_bytes() -> FxHashMap<char, u8> {
    byte_chars().into_iter().zip(0..=u8::MAX).collect()
}

/// The character that byte-level models write for each byte: its own where that can be seen, the
/// next from U+0100 on for the others.
///
/// Source: Radford et al. (2019), `bytes_to_unicode` in `src/encoder.py` of
/// <https://github.com/openai/gpt-2>.
pub(super) fn byte_chars() -> Vec<char> {
    let mut n_hidden = 0;
    let chars = (0..=u8::MAX).map(|byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        _ => {
            n_hidden += 1;
            char::from_u32(0xff + n_hidden).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    });
    chars.collect()
}
