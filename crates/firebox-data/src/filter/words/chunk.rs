//! Cutting what lies between two spaces, in scripts that have spaces.
//!
//! Source: the tokenizer of spaCy 3 for English (<https://spacy.io/usage/linguistic-features#tokenization>),
//! with its lists of prefixes, suffixes and infixes; of its exceptions, contractions and the commonest
//! abbreviations.

use std::ops::Range;

use super::signs::{ABBREVIATIONS, CLITICS, UNITS, is_currency, is_icon, is_mark, is_quote};

/// How much is cut from the end of one chunk at most; a longer tail of punctuation stays on its word.
const MOST_SUFFIXES: usize = 16;

/// Gives the words of `chunk`, as ranges moved by `offset`.
pub(super) fn split(chunk: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
    let mut start = 0;
    while start < chunk.len() && !is_exception(&chunk[start..]) {
        let n_bytes = prefix_bytes(&chunk[start..]);
        if n_bytes == 0 {
            break;
        }
        push(offset + start..offset + start + n_bytes);
        start += n_bytes;
    }
    let mut cuts = [0; MOST_SUFFIXES];
    let mut n_cuts = 0;
    let mut end = chunk.len();
    while n_cuts < MOST_SUFFIXES {
        match suffix_bytes(&chunk[start..end]) {
            0 => break,
            // What would be cut away whole stays a word.
            n_bytes if n_bytes >= end - start => break,
            n_bytes => {
                cuts[n_cuts] = end;
                n_cuts += 1;
                end -= n_bytes;
            }
        }
    }
    split_core(&chunk[start..end], offset + start, push);
    for &cut in cuts[..n_cuts].iter().rev() {
        push(offset + end..offset + cut);
        end = cut;
    }
}

/// Abbreviations, and single small letters with a full stop.
fn is_exception(text: &str) -> bool {
    match text.as_bytes() {
        [b'a'..=b'z', b'.'] => true,
        [.., b'.'] => ABBREVIATIONS.contains(&text),
        _ => false,
    }
}

/// Bytes of the punctuation at the start that is a word of its own, or 0.
fn prefix_bytes(text: &str) -> usize {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return 0;
    };
    let next_is_digit = characters.next().is_some_and(|c| c.is_ascii_digit());
    match first {
        'a'..='z' | 'A'..='Z' | '0'..='9' => 0,
        '.' | '…' => ellipsis_bytes(text),
        '+' if next_is_digit => 0,
        '+' | '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        _ if is_mark(first) || is_quote(first) || is_currency(first) || is_icon(first) => {
            first.len_utf8()
        }
        _ => 0,
    }
}

/// Bytes of an ellipsis at the start, at least two full stops, or 0.
fn ellipsis_bytes(text: &str) -> usize {
    if text.starts_with('…') {
        return '…'.len_utf8();
    }
    match text.bytes().take_while(|&byte| byte == b'.').count() {
        0 | 1 => 0,
        n_stops => n_stops,
    }
}

/// Bytes of the last thing to cut from the end, or 0.
fn suffix_bytes(text: &str) -> usize {
    let Some(last) = text.chars().next_back() else {
        return 0;
    };
    if last.is_ascii_alphanumeric() {
        return clitic_bytes(text).max(unit_bytes(text));
    }
    if is_exception(text) {
        return 0;
    }
    let n_bytes = last.len_utf8();
    let before = text[..text.len() - n_bytes].chars().next_back();
    match last {
        '.' => stop_bytes(text),
        '…' | '—' | '–' => n_bytes,
        '+' if before.is_some_and(|c| c.is_ascii_digit()) => n_bytes,
        _ if is_mark(last) || is_quote(last) || is_icon(last) => n_bytes,
        _ if is_currency(last) && before.is_some_and(|c| c.is_ascii_digit()) => n_bytes,
        '%' => n_bytes,
        _ => clitic_bytes(text).max(unit_bytes(text)),
    }
}

/// Bytes of the full stops at the end that are a word of their own, or 0: not those of initials.
fn stop_bytes(text: &str) -> usize {
    let n_stops = text.bytes().rev().take_while(|&byte| byte == b'.').count();
    if n_stops > 1 {
        return n_stops;
    }
    let mut before = text[..text.len() - 1].chars().rev();
    let Some(last) = before.next() else {
        return 0;
    };
    let after_capitals = last.is_uppercase() && before.next().is_some_and(char::is_uppercase);
    let ends_word = last.is_lowercase()
        || last.is_ascii_digit()
        || matches!(last, '%' | '²' | '-' | '+' | '—' | '–' | '…')
        || is_mark(last)
        || is_quote(last);
    usize::from(after_capitals || ends_word)
}

/// Bytes of `n't`, `'s` and the like at the end, or 0.
fn clitic_bytes(text: &str) -> usize {
    let mut tail = text.bytes().rev().take(5);
    if !tail.any(|byte| matches!(byte, b'\'' | 0xe2)) {
        return 0;
    }
    let cut = |clitic: &&&str| {
        text.strip_suffix(**clitic)
            .is_some_and(|stem| stem.chars().next_back().is_some_and(char::is_alphabetic))
    };
    CLITICS.iter().find(cut).map_or(0, |clitic| clitic.len())
}

/// Bytes of a unit right behind a digit, or 0.
fn unit_bytes(text: &str) -> usize {
    let mut tail = text.bytes().rev().take(5);
    if !tail.any(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let follows_digit = |unit: &&&str| {
        text.strip_suffix(**unit)
            .is_some_and(|number| number.as_bytes().last().is_some_and(u8::is_ascii_digit))
    };
    UNITS
        .iter()
        .find(follows_digit)
        .map_or(0, |unit| unit.len())
}

/// Cuts at infixes: an ellipsis, a hyphen before a letter, a comma between letters, `:`, `/` and signs of
/// comparison before a letter, signs of arithmetic between digits, a full stop between a small and a capital letter.
fn split_core(core: &str, offset: usize, push: &mut dyn FnMut(Range<usize>)) {
    match core {
        "" => return,
        "and/or" => return push(offset..offset + core.len()),
        "cannot" | "Cannot" => {
            push(offset..offset + 3);
            return push(offset + 3..offset + core.len());
        }
        _ => {}
    }
    let is_plain = core.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain || core.contains("://") || core.starts_with("www.") {
        return push(offset..offset + core.len());
    }
    let mut start = 0;
    let mut at = 0;
    while at < core.len() {
        let n_bytes = infix_bytes(core, at);
        if n_bytes > 0 {
            if at > start {
                push(offset + start..offset + at);
            }
            push(offset + at..offset + at + n_bytes);
            start = at + n_bytes;
            at = start;
        } else {
            at += core[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    if start < core.len() {
        push(offset + start..offset + core.len());
    }
}

/// Bytes of a hyphen, or of up to three of the ASCII ones, at the start, or 0.
fn hyphens_bytes(text: &str) -> usize {
    match text.chars().next() {
        Some('-') => text
            .bytes()
            .take(3)
            .take_while(|&byte| byte == b'-')
            .count(),
        Some(dash @ ('–' | '—' | '~')) => dash.len_utf8(),
        _ => 0,
    }
}

/// Bytes of the infix at `at`, or 0.
fn infix_bytes(core: &str, at: usize) -> usize {
    let mut rest = core[at..].chars();
    let Some(sign) = rest.next() else {
        return 0;
    };
    if sign.is_ascii_alphanumeric() {
        return 0;
    }
    let ellipsis = ellipsis_bytes(&core[at..]);
    if ellipsis > 0 {
        return ellipsis;
    }
    if is_icon(sign) {
        return sign.len_utf8();
    }
    let (Some(before), Some(after)) = (core[..at].chars().next_back(), rest.next()) else {
        return 0;
    };
    let hyphens = hyphens_bytes(&core[at..]);
    if hyphens > 0
        && before.is_alphanumeric()
        && core[at + hyphens..].starts_with(char::is_alphabetic)
    {
        return hyphens;
    }
    let cuts = match sign {
        '-' => before.is_ascii_digit() && (after.is_ascii_digit() || after == '-'),
        ',' => before.is_alphabetic() && after.is_alphabetic(),
        ':' | '<' | '>' | '=' | '/' => before.is_alphanumeric() && after.is_alphabetic(),
        '+' | '*' | '^' => before.is_ascii_digit() && (after.is_ascii_digit() || after == '-'),
        '.' => before.is_lowercase() && after.is_uppercase(),
        _ => false,
    };
    if cuts { sign.len_utf8() } else { 0 }
}
