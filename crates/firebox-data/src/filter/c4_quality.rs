//! C4's rules on lines and pages, with datatrove's definitions.

mod sentences;

use std::borrow::Cow;
use std::ops::ControlFlow;

use aho_corasick::AhoCorasick;
use memchr::memchr;

use super::characters::is_space;
use super::finding::Finding;
use super::lines::{split_lines, strip};
use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};
use sentences::count_sentences;

parameters! {
    /// C4's rules: lines that are not running text are removed, and pages with too little left, or with
    /// signs of code or filler, dropped. C4's list of bad words is not part of it.
    ///
    /// Source: Raffel et al. (2020), <https://jmlr.org/papers/v21/20-074.html>, section 2.2, as
    /// `C4QualityFilter` of datatrove 0.10 reads it; FineWeb set `terminal_punctuation = false`.
    C4Quality {
        /// Whether citation marks (`[12]`, `[edit]`, `[citation needed]`) are removed.
        remove_citations: bool = true,
        /// Whether lines without a mark at their end, or with `...` there, are removed.
        terminal_punctuation: bool = true,
        /// The marks at the end of a line.
        end_marks: String = ".?!\"'".into(),
        /// Fewest words of a line that stays.
        min_words_per_line: usize = 3,
        /// Most characters of the longest word of a line that stays.
        max_word_characters: usize = 1000,
        /// Whether pages with "lorem ipsum" are dropped.
        lorem_ipsum: bool = true,
        /// Whether lines with "javascript" are removed.
        javascript: bool = true,
        /// Whether pages with `{` are dropped.
        curly_bracket: bool = true,
        /// Whether lines on cookies, privacy policies and terms of use are removed.
        policy: bool = true,
        /// Fewest sentences of what is left; 0 demands none.
        min_sentences: usize = 5,
    }
}

/// What is looked for in lines, in any case; the first two have meanings of their own, the others are C4's
/// phrases on policies.
const PHRASES: [&str; 8] = [
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

impl Parameters for C4Quality {
    fn check(&self, problems: &mut Problems<'_>) {
        if self.terminal_punctuation && self.end_marks.is_empty() {
            let text =
                "expected at least one mark, found none (hint: or `terminal_punctuation = false`)";
            problems.add("end_marks", text);
        }
        if self.max_word_characters == 0 {
            problems.add("max_word_characters", "expected at least 1, found 0");
        }
    }

    fn build(&self) -> Box<dyn Rule> {
        let phrases = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(PHRASES);
        Box::new(Compiled {
            limits: self.clone(),
            phrases: phrases
                .expect("eight short phrases compile; else this is a bug in firebox-data"),
        })
    }
}

#[derive(Debug)]
struct Compiled {
    limits: C4Quality,
    phrases: AhoCorasick,
}

impl Rule for Compiled {
    fn judge(&self, input: &Input<'_>, report: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        let text = input.text();
        let may_have_phrase = self.phrases.is_match(text);
        let mut n_sentences = 0;
        let mut kept = String::with_capacity(text.len());
        let mut found = Found::default();
        for line in split_lines(text) {
            match self.read(strip(line), may_have_phrase) {
                Line::Removed => {}
                Line::LoremIpsum => found.lorem_ipsum.once(report, "lorem_ipsum")?,
                Line::CurlyBracket => found.curly_bracket.once(report, "curly_bracket")?,
                Line::Kept(line) => {
                    n_sentences += count_sentences(&line);
                    if !kept.is_empty() {
                        kept.push('\n');
                    }
                    kept.push_str(&line);
                }
            }
        }
        found
            .lorem_ipsum
            .none(report, "lorem_ipsum", self.limits.lorem_ipsum)?;
        found
            .curly_bracket
            .none(report, "curly_bracket", self.limits.curly_bracket)?;
        let least = self.limits.min_sentences as f64;
        report(Finding::at_least(
            "too_few_sentences",
            f64::from(n_sentences),
            least,
        ))?;
        let kept = if strip(&kept).len() == kept.len() {
            kept
        } else {
            strip(&kept).to_owned()
        };
        ControlFlow::Continue((kept != text).then_some(kept))
    }
}

/// What becomes of a line.
enum Line<'t> {
    Removed,
    LoremIpsum,
    CurlyBracket,
    Kept(Cow<'t, str>),
}

impl Compiled {
    fn read<'t>(&self, line: &'t str, may_have_phrase: bool) -> Line<'t> {
        let limits = &self.limits;
        let mut words = line.split(is_space).filter(|word| !word.is_empty());
        let has_long_word = line.len() > limits.max_word_characters
            && words
                .clone()
                .any(|word| word.chars().nth(limits.max_word_characters).is_some());
        if has_long_word {
            return Line::Removed;
        }
        let cleaned = if limits.remove_citations {
            without_citations(line)
        } else {
            line.into()
        };
        let ends = cleaned.ends_with(|mark: char| limits.end_marks.contains(mark));
        if limits.terminal_punctuation && (!ends || cleaned.ends_with("...")) {
            return Line::Removed;
        }
        if limits.min_words_per_line > 0 && words.nth(limits.min_words_per_line - 1).is_none() {
            return Line::Removed;
        }
        let marks = if may_have_phrase || matches!(cleaned, Cow::Owned(_)) {
            self.phrases_in(&cleaned)
        } else {
            Phrases::default()
        };
        if limits.lorem_ipsum && marks.lorem_ipsum {
            return Line::LoremIpsum;
        }
        if limits.javascript && marks.javascript {
            return Line::Removed;
        }
        if limits.curly_bracket && memchr(b'{', cleaned.as_bytes()).is_some() {
            return Line::CurlyBracket;
        }
        if limits.policy && marks.policy {
            return Line::Removed;
        }
        Line::Kept(cleaned)
    }

    fn phrases_in(&self, line: &str) -> Phrases {
        let mut found = Phrases::default();
        for phrase in self.phrases.find_iter(line) {
            match phrase.pattern().as_usize() {
                0 => found.lorem_ipsum = true,
                1 => found.javascript = true,
                _ => found.policy = true,
            }
        }
        found
    }
}

/// Which phrases a line has.
#[derive(Debug, Default)]
struct Phrases {
    lorem_ipsum: bool,
    javascript: bool,
    policy: bool,
}

/// Which signs the page has been dropped for.
#[derive(Debug, Default)]
struct Found {
    lorem_ipsum: Sign,
    curly_bracket: Sign,
}

/// Whether a sign has been reported.
#[derive(Debug, Default)]
struct Sign(bool);

impl Sign {
    fn once(&mut self, report: &mut Report<'_>, check: &'static str) -> ControlFlow<()> {
        if std::mem::replace(&mut self.0, true) {
            return ControlFlow::Continue(());
        }
        report(Finding::at_most(check, 1.0, 0.0))
    }

    fn none(&self, report: &mut Report<'_>, check: &'static str, wanted: bool) -> ControlFlow<()> {
        if self.0 || !wanted {
            return ControlFlow::Continue(());
        }
        report(Finding::at_most(check, 0.0, 0.0))
    }
}

/// Removes `[12]`, `[]`, `[edit]` and `[citation needed]`.
fn without_citations(line: &str) -> Cow<'_, str> {
    let mut cleaned = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = memchr(b'[', &line.as_bytes()[from..]) {
        let start = from + found;
        from = start + 1;
        let Some(n_bytes) = memchr(b']', &line.as_bytes()[from..]) else {
            break;
        };
        let inside = &line[from..from + n_bytes];
        if inside.chars().all(is_decimal) || inside == "edit" || inside == "citation needed" {
            cleaned.push_str(&line[copied..start]);
            copied = from + n_bytes + 1;
            from = copied;
        }
    }
    if copied == 0 {
        return line.into();
    }
    cleaned.push_str(&line[copied..]);
    cleaned.into()
}

/// A decimal digit, of ASCII or full width.
fn is_decimal(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, '\u{ff10}'..='\u{ff19}')
}

#[cfg(test)]
mod tests;
