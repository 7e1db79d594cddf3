//! Tokens that are cut out of the text before anything else is done with it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

/// A token that is found by its text.
#[derive(Debug, Clone)]
pub(super) struct AddedToken {
    pub(super) text: String,
    pub(super) id: u32,
    /// Found only where no letter, digit or `_` stands beside it.
    pub(super) single_word: bool,
    /// Takes the white space before it.
    pub(super) lstrip: bool,
    /// Takes the white space behind it.
    pub(super) rstrip: bool,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// An added token.
    Token(u32),
    /// Text between added tokens, not empty.
    Text(Range<usize>),
}

/// Finds added tokens: of those that start first, the longest.
#[derive(Debug)]
pub(super) struct AddedTokens {
    automaton: AhoCorasick,
    tokens: Vec<AddedToken>,
    word_character: Regex,
}

impl AddedTokens {
    /// A search for at least one token; nothing if there are none, or too many to search for.
    pub(super) fn new(tokens: Vec<AddedToken>) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| &token.text))?;
        Ok(Some(Self {
            automaton,
            tokens,
            word_character: Regex::new(r"^\w$")?,
        }))
    }

    /// Calls `visit` with each part of a text, in order.
    pub(super) fn for_each_part(&self, text: &str, mut visit: impl FnMut(Part)) {
        let mut done = 0;
        for found in self.automaton.find_iter(text) {
            let token = &self.tokens[found.pattern().as_usize()];
            let (mut start, mut end) = (found.start(), found.end());
            if token.single_word && self.touches_word(text, &(start..end)) {
                continue;
            }
            if token.lstrip {
                start = text[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                let rest = &text[end..];
                end += rest.len() - rest.trim_start().len();
            }
            if done < start {
                visit(Part::Text(done..start));
            }
            // White space that an earlier token has taken can be all that is left of this one.
            if start < end {
                visit(Part::Token(token.id));
            }
            done = end;
        }
        if done < text.len() {
            visit(Part::Text(done..text.len()));
        }
    }

    /// Whether a word character stands beside a range.
    fn touches_word(&self, text: &str, range: &Range<usize>) -> bool {
        let before = text[..range.start].chars().next_back();
        let behind = text[range.end..].chars().next();
        [before, behind].into_iter().flatten().any(|beside| {
            self.word_character
                .is_match(beside.encode_utf8(&mut [0; 4]))
        })
    }
}
