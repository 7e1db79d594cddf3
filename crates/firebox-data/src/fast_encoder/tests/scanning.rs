//! The hand-written splits against the regex engine.

use proptest::prelude::*;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};

use super::texts::any_text;
use crate::fast_encoder::char_class::{CharClasses, LETTER, NUMBER, OTHER, SPACE};
use crate::fast_encoder::scanner::{GPT2_PATTERN, LLAMA3_PATTERNS, Scanner, SplitRule};

fn ends(scanner: &Scanner, text: &str) -> Vec<usize> {
    let mut ends = vec![0];
    while ends[ends.len() - 1] < text.len() {
        ends.push(scanner.word_end(text.as_bytes(), ends[ends.len() - 1]));
    }
    ends[1..].to_vec()
}

#[track_caller]
fn check(pattern: &str, text: &str) {
    let classes = CharClasses::of_engine().unwrap().clone();
    let scanner = Scanner::new(SplitRule::of_pattern(pattern).unwrap(), classes);
    let regex = SplitPattern::Regex(pattern.to_owned());
    let split = Split::new(regex, SplitDelimiterBehavior::Isolated, false).unwrap();
    let expected: Vec<_> = split.regex.find_iter(text).map(|(_, end)| end).collect();
    assert_eq!(ends(&scanner, text), expected, "{pattern}: {text:?}");
    // A second engine, of another Unicode version, which only sees what both agree on.
    if text.chars().all(|c| (c as u32) < 0x250) {
        let regex = fancy_regex::Regex::new(pattern).unwrap();
        let found: Vec<_> = regex.find_iter(text).map(|m| m.unwrap().end()).collect();
        assert_eq!(found, expected, "{pattern} in fancy-regex: {text:?}");
    }
}

fn patterns() -> impl Iterator<Item = &'static str> {
    std::iter::once(GPT2_PATTERN).chain(LLAMA3_PATTERNS.map(|(pattern, _)| pattern))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn words_end_where_the_patterns_say(text in any_text()) {
        for pattern in patterns() {
            check(pattern, &text);
        }
    }
}

#[test]
fn every_character_alone_and_beside_others_is_split_as_the_patterns_say() {
    // With what the patterns look at before and behind each.
    let all: Vec<char> = (0..0x2_0000).filter_map(char::from_u32).collect();
    for chars in all.chunks(512) {
        let text: String = chars
            .iter()
            .flat_map(|&c| [c, 's', ' ', c, '\'', c])
            .collect();
        for pattern in patterns() {
            check(pattern, &text);
        }
    }
}

#[test]
fn classes_are_those_of_well_known_characters() {
    let classes = CharClasses::of_engine().unwrap();
    for (character, class) in [
        ('a', LETTER),
        ('é', LETTER),
        ('血', LETTER),
        ('が', LETTER),
        ('𠀀', LETTER),
        ('7', NUMBER),
        ('٣', NUMBER),
        ('½', NUMBER),
        ('Ⅷ', NUMBER),
        (' ', SPACE),
        ('\u{a0}', SPACE),
        ('\u{3000}', SPACE),
        ('.', OTHER),
        ('\u{301}', OTHER),
        ('👍', OTHER),
        ('\u{10ffff}', OTHER),
    ] {
        assert_eq!(classes.of(character as u32), class, "{character:?}");
    }
}

#[test]
fn unknown_patterns_have_no_rule() {
    assert_eq!(SplitRule::of_pattern(r"\s+"), None);
}
