//! Understanding a `tokenizer.json`.

use serde_json::Value;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::Tokenizer as HfTokenizer;
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use super::added_tokens::{AddedToken, AddedTokens};
use super::bpe_analysis::{SymbolUnit, bpe_model};
use super::char_class::{CharClasses, HAN_PATTERN};
use super::fallback_reason::FallbackReason;
use super::normalizer::Normalizer;
use super::pipeline::Pipeline;
use super::scanner::{Scanner, SplitRule};
use super::words::Words;

/// The steps of a tokenizer, if all of them are known. `json` is what it was read from.
pub(crate) fn analyse(tokenizer: &HfTokenizer, json: &[u8]) -> Result<Pipeline, FallbackReason> {
    let normalizer = normalizer(tokenizer)?;
    let words = words(tokenizer, &normalizer)?;
    let unit = match words {
        Words::Scanned { .. } | Words::WholeBytes { .. } => SymbolUnit::Byte,
        Words::WholeChars | Words::Metaspace { .. } => SymbolUnit::Char,
    };
    let model = bpe_model(tokenizer.get_model(), json, unit)?;
    let (raw, normalized) = added_tokens(tokenizer, &normalizer);
    let search = |tokens| AddedTokens::new(tokens).map_err(|_| FallbackReason::AddedTokens);
    Ok(Pipeline {
        raw_tokens: search(raw)?,
        normalized_tokens: search(normalized)?,
        normalizer,
        words,
        model,
    })
}

fn normalizer(tokenizer: &HfTokenizer) -> Result<Normalizer, FallbackReason> {
    let Some(normalizer) = tokenizer.get_normalizer() else {
        return Ok(Normalizer::default());
    };
    // The fields of the loaded normalizers are private; their JSON is not.
    let json = serde_json::to_value(normalizer).unwrap_or(Value::Null);
    Normalizer::from_json(&json).map_err(|found| FallbackReason::Normalizer { found })
}

/// The added tokens that are found in the text as it is, and those that are found once it is
/// normalized, which are normalized themselves.
fn added_tokens(
    tokenizer: &HfTokenizer,
    normalizer: &Normalizer,
) -> (Vec<AddedToken>, Vec<AddedToken>) {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let mut added: Vec<_> = added.iter().collect();
    added.sort_unstable_by_key(|(id, _)| **id);
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for (&id, token) in added {
        let (text, tokens) = if token.normalized {
            let text = normalizer.normalize(&token.content).into_owned();
            (text, &mut normalized)
        } else {
            (token.content.clone(), &mut raw)
        };
        tokens.push(AddedToken {
            text,
            id,
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
        });
    }
    (raw, normalized)
}

fn words(tokenizer: &HfTokenizer, normalizer: &Normalizer) -> Result<Words, FallbackReason> {
    let mut steps = Vec::new();
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        flatten(pre_tokenizer, &mut steps);
    }
    let known = match steps.as_slice() {
        [] => Some(Words::WholeChars),
        [PreTokenizerWrapper::Metaspace(metaspace)] if normalizer.keeps_start() => {
            Some(Words::Metaspace {
                mark: metaspace.get_replacement(),
                prepend: metaspace.get_prepend_scheme(),
                splits: metaspace.get_split(),
            })
        }
        [PreTokenizerWrapper::Split(split), steps @ ..] if isolates_han(split) => {
            after_han(steps, true)?
        }
        steps => after_han(steps, false)?,
    };
    known.ok_or_else(|| FallbackReason::PreTokenizer {
        found: describe(&steps),
    })
}

fn flatten<'a>(step: &'a PreTokenizerWrapper, steps: &mut Vec<&'a PreTokenizerWrapper>) {
    match step {
        PreTokenizerWrapper::Sequence(sequence) => {
            for step in sequence.as_ref() {
                flatten(step, steps);
            }
        }
        step => steps.push(step),
    }
}

/// Whether each Han character becomes a word.
fn isolates_han(split: &Split) -> bool {
    let is_han = matches!(&split.pattern, SplitPattern::Regex(pattern) if pattern == HAN_PATTERN);
    is_han && split.behavior == SplitDelimiterBehavior::Isolated && !split.invert
}

fn after_han(steps: &[&PreTokenizerWrapper], han: bool) -> Result<Option<Words>, FallbackReason> {
    match steps {
        [PreTokenizerWrapper::Digits(digits), steps @ ..] => {
            byte_words(steps, han, Some(digits.individual_digits))
        }
        steps => byte_words(steps, han, None),
    }
}

/// The words of a byte-level pre-tokenizer. `han` is whether each Han character was split off before it;
/// `digits` is whether a `Digits` stands before it, and if so, whether each digit stands alone.
fn byte_words(
    steps: &[&PreTokenizerWrapper],
    han: bool,
    digits: Option<bool>,
) -> Result<Option<Words>, FallbackReason> {
    let (rule, adds_space) = match steps {
        [PreTokenizerWrapper::ByteLevel(bytes)] => {
            let rule = bytes.use_regex.then_some(SplitRule::Gpt2);
            (rule, bytes.add_prefix_space)
        }
        [
            PreTokenizerWrapper::Split(split),
            PreTokenizerWrapper::ByteLevel(bytes),
        ] if !bytes.use_regex && !bytes.add_prefix_space => match known_rule(split) {
            Some(rule) => (Some(rule), false),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    // `ByteLevel` puts a space before each part that the steps before it leave, digits too.
    if (han || digits.is_some()) && (adds_space || rule.is_none()) {
        return Ok(None);
    }
    let Some(rule) = rule else {
        return Ok(Some(Words::WholeBytes { adds_space }));
    };
    let classes = CharClasses::of_engine().ok_or(FallbackReason::CharClasses)?;
    let classes = match han {
        true => classes
            .with_isolated_han()
            .ok_or(FallbackReason::CharClasses)?,
        false => classes.clone(),
    };
    let classes = match digits {
        Some(true) => classes.with_isolated_digits(),
        _ => classes,
    };
    Ok(Some(Words::Scanned {
        scanner: Box::new(Scanner::new(rule, classes)),
        splits_numbers: digits == Some(false),
        adds_space,
    }))
}

/// The rule of a split that keeps each match, if its pattern is known. The known patterns match
/// everything, so that nothing lies between matches.
fn known_rule(split: &Split) -> Option<SplitRule> {
    let keeps_matches = match split.behavior {
        SplitDelimiterBehavior::Isolated => true,
        SplitDelimiterBehavior::Removed => split.invert,
        _ => false,
    };
    match &split.pattern {
        SplitPattern::Regex(pattern) if keeps_matches => SplitRule::of_pattern(pattern),
        _ => None,
    }
}

fn describe(steps: &[&PreTokenizerWrapper]) -> String {
    let types: Vec<_> = steps
        .iter()
        .map(|step| {
            let json = serde_json::to_value(step).unwrap_or(Value::Null);
            json["type"].as_str().unwrap_or("?").to_owned()
        })
        .collect();
    types.join(", ")
}
