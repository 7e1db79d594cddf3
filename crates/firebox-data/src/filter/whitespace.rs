//! Clean-up of spaces, line ends and control characters.

use std::ops::ControlFlow;

use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// Cleans up what is not seen: line ends become `\n`, other spaces and tabs become spaces, control
    /// characters, byte order marks, zero-width spaces and soft hyphens go, and so do spaces at the end of a
    /// line and line ends at either end of the text. A house rule.
    Whitespace {
        /// Whether runs of spaces become one, and indentation goes.
        collapse_spaces: bool = true,
        /// Most empty lines in a row.
        max_blank_lines: usize = 1,
    }
}

impl Parameters for Whitespace {
    fn check(&self, _problems: &mut Problems<'_>) {}

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for Whitespace {
    fn judge(&self, input: &Input<'_>, _: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        ControlFlow::Continue(self.clean(input.text()))
    }
}

/// Bytes looked at together while there is nothing to clean.
const BLOCK_BYTES: usize = 64;

impl Whitespace {
    /// The cleaned text; none if it is clean.
    fn clean(&self, text: &str) -> Option<String> {
        let n_clean = self.n_clean_bytes(text);
        if n_clean == text.len() {
            return None;
        }
        let mut output = Output {
            text: String::with_capacity(text.len()),
            n_spaces: 0,
            n_newlines: 0,
            rule: self,
        };
        output.text.push_str(&text[..n_clean]);
        let mut rest = text[n_clean..].chars().peekable();
        while let Some(character) = rest.next() {
            match class(character) {
                Class::Visible => output.push(character),
                Class::Space => output.n_spaces += 1,
                Class::Gone => {}
                Class::LineEnd => {
                    rest.next_if(|&next| character == '\r' && next == '\n');
                    output.n_newlines += 1;
                    output.n_spaces = 0;
                }
            }
        }
        (output.text != text).then_some(output.text)
    }
}

/// Writes visible characters, and before each what is left of the spaces and line ends there.
struct Output<'r> {
    text: String,
    /// Spaces and line ends since the last visible character.
    n_spaces: usize,
    n_newlines: usize,
    rule: &'r Whitespace,
}

impl Output<'_> {
    fn push(&mut self, character: char) {
        let at_start = self.text.is_empty();
        let collapses = self.rule.collapse_spaces;
        if !at_start {
            let most = self.rule.max_blank_lines.saturating_add(1);
            let n_newlines = self.n_newlines.min(most);
            self.text.extend(std::iter::repeat_n('\n', n_newlines));
        }
        let starts_line = at_start || self.n_newlines > 0;
        let n_spaces = match (collapses, starts_line) {
            (true, true) => 0,
            (true, false) => self.n_spaces.min(1),
            (false, _) => self.n_spaces,
        };
        self.text.extend(std::iter::repeat_n(' ', n_spaces));
        self.text.push(character);
        self.n_spaces = 0;
        self.n_newlines = 0;
    }
}

enum Class {
    Visible,
    Space,
    LineEnd,
    Gone,
}

fn class(character: char) -> Class {
    match character {
        '!'..='~' => Class::Visible,
        ' ' | '\t' | '\u{b}' | '\u{c}' => Class::Space,
        '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => Class::LineEnd,
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' => Class::Gone,
        _ if character.is_control() => Class::Gone,
        _ if character.is_whitespace() => Class::Space,
        _ => Class::Visible,
    }
}

impl Whitespace {
    /// How much at the start needs no cleaning, up to a visible character; all of it if all is clean.
    fn n_clean_bytes(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let is_clean_block = at > 0
                && bytes.len() >= at + BLOCK_BYTES
                && is_clean(
                    &bytes[at - 1..at + BLOCK_BYTES - 1],
                    &bytes[at..at + BLOCK_BYTES],
                );
            if is_clean_block {
                at += BLOCK_BYTES;
                continue;
            }
            let end = text.ceil_char_boundary((at + BLOCK_BYTES).min(bytes.len()));
            match text[at..end]
                .char_indices()
                .find(|&(n, _)| self.is_dirty(text, at + n))
            {
                Some((n, _)) => return n_up_to_visible(&text[..at + n]),
                None => at = end,
            }
        }
        let ends_visibly = bytes.last().is_none_or(|&byte| byte > b' ');
        if ends_visibly {
            text.len()
        } else {
            n_up_to_visible(text)
        }
    }

    /// Whether the character at `at` is one to clean, given that all before it is clean.
    fn is_dirty(&self, text: &str, at: usize) -> bool {
        let before = &text.as_bytes()[..at];
        let follows_blank = before.last().is_none_or(|&byte| byte <= b' ');
        match text.as_bytes()[at] {
            b' ' => follows_blank,
            b'\n' => {
                let n_newlines = before
                    .iter()
                    .rev()
                    .take_while(|&&byte| byte == b'\n')
                    .count();
                let n_blank = before.len() - n_newlines;
                n_newlines > self.max_blank_lines || n_blank == 0 || before[n_blank - 1] == b' '
            }
            b'!'..=b'~' => false,
            _ => !text[at..]
                .chars()
                .next()
                .is_some_and(|c| matches!(class(c), Class::Visible)),
        }
    }
}

/// The length up to the last visible character; what is given is clean.
fn n_up_to_visible(text: &str) -> usize {
    text.trim_end_matches([' ', '\n']).len()
}

/// Whether ASCII bytes, with the byte before each, need no cleaning: single spaces and line ends between
/// visible characters. The rest is for the slow path to look at.
fn is_clean(before: &[u8], bytes: &[u8]) -> bool {
    let mut dirty = 0u8;
    for (&left, &right) in before.iter().zip(bytes) {
        let is_blank = u8::from(right <= b' ');
        let is_odd = u8::from((right < b' ') & (right != b'\n')) | u8::from(right >= 0x7f);
        dirty |= is_odd | (is_blank & u8::from(left <= b' '));
    }
    dirty == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Whitespace;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = Whitespace::default().clean(text);
        assert_eq!(found.as_deref().unwrap_or(text), expected);
        assert_eq!(found.is_some(), text != expected);
    }

    #[test]
    fn clean_text_is_left_alone() {
        for text in [
            "",
            "a",
            "a b\nc",
            "a\n\nb",
            "é b 你",
            "word ".repeat(60).trim_end(),
        ] {
            check(text, text);
        }
    }

    #[test]
    fn what_is_not_seen_is_cleaned() {
        check(" a  b\t c \n", "a b c");
        check("a\r\n\r\n\r\n\r\nb\rc", "a\n\nb\nc");
        check("\u{feff}a\u{200b}b\u{ad}c\u{0}d\u{7f}e\u{9d}f", "abcdef");
        check("a\u{a0}\u{3000}b\u{2028}c", "a b\nc");
        check(" \n\t ", "");
        check("a \u{200b} b", "a b");
    }

    #[test]
    fn spaces_and_indentation_stay_where_they_are_wanted() {
        let rule = Whitespace {
            collapse_spaces: false,
            max_blank_lines: 0,
        };
        let text = "if x:\n\n\n    return  y \n";
        assert_eq!(rule.clean(text).as_deref(), Some("if x:\n    return  y"));
    }

    #[test]
    fn what_is_clean_is_found_so_without_writing() {
        let text = "plain words on a line,\n\nnaïve ones — too\n".repeat(50);
        let rule = Whitespace::default();
        assert_eq!(rule.n_clean_bytes(text.trim_end()), text.len() - 1);
        assert_eq!(rule.n_clean_bytes(&text), text.len() - 1);
        assert_eq!(rule.n_clean_bytes("é  ü"), 2);
        assert_eq!(rule.n_clean_bytes("a\n\n\nb"), 1);
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_and_visible_characters_stay(
            text in "[a-c\\n\\r\\t \u{a0}\u{200b}\u{2028}é你\u{0}]{0,150}", collapse in any::<bool>(), blank in 0..3usize
        ) {
            let rule = Whitespace { collapse_spaces: collapse, max_blank_lines: blank };
            let once = rule.clean(&text).unwrap_or_else(|| text.clone());
            prop_assert_eq!(rule.clean(&once), None);
            let visible = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            prop_assert_eq!(visible(&once), visible(&text));
            if collapse {
                prop_assert!(!once.contains("  ") && !once.contains(&"\n".repeat(blank + 2)));
            }
        }
    }
}
