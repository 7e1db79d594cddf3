//! Repair of mojibake: UTF-8 that was read as another encoding.

mod encodings;
mod gbk;
mod plausible;

use std::ops::ControlFlow;

use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};
use encodings::{ByteEncoding, read_c1};
use plausible::{Place, is_ordinary, is_plausible};

parameters! {
    /// Reads UTF-8 again that was read as Windows-1252, Latin-1, Windows-1251, Mac Roman or GBK: `cafÃ©`
    /// becomes `café`, `donâ€™t` `don’t`, `浣犲ソ` `你好`; also what was read wrongly twice. C1 control
    /// characters become the Windows-1252 characters of their bytes.
    ///
    /// Text changes only where its bytes are valid UTF-8 *and* what comes out is the likelier text; single
    /// sequences that a writer may have meant (`5 Å²`, `CAFÉ»`) stay. What lost bytes on the way (`â€�`, or
    /// no-break spaces that became spaces) stays as it is.
    ///
    /// Source: the idea, and the encodings but GBK, are those of ftfy (Speer 2019,
    /// <https://ftfy.readthedocs.io/en/latest/heuristic.html>); the tests of likelihood are our own.
    Mojibake {}
}

impl Parameters for Mojibake {
    fn check(&self, _problems: &mut Problems<'_>) {}

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for Mojibake {
    fn judge(&self, input: &Input<'_>, _: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        ControlFlow::Continue(repair(input.text()))
    }
}

/// How often a text may have been read wrongly.
const MOST_ROUNDS: usize = 4;

/// The repaired text; none if there is nothing to repair.
fn repair(text: &str) -> Option<String> {
    let mut repaired = repair_once(text)?;
    for _ in 1..MOST_ROUNDS {
        match repair_once(&repaired) {
            Some(better) => repaired = better,
            None => break,
        }
    }
    (repaired != text).then_some(repaired)
}

/// One round: the whole text, if it is all of one piece; else each run of characters outside ASCII.
fn repair_once(text: &str) -> Option<String> {
    let repaired = repair_runs(text)?;
    // Some of it is mojibake. If all of it reads as UTF-8, what looked as if it was meant is so too.
    ByteEncoding::ALL
        .into_iter()
        .find_map(|encoding| read_whole(text, encoding))
        .or(Some(repaired))
}

/// The text read again as UTF-8, if all its characters are bytes of the encoding and all is valid.
fn read_whole(text: &str, encoding: ByteEncoding) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => bytes.push(byte),
            _ => bytes.push(encoding.byte(character)?),
        }
    }
    let read = String::from_utf8(bytes).ok()?;
    read.chars()
        .all(|character| character.is_ascii() || is_ordinary(character))
        .then_some(read)
}

fn repair_runs(text: &str) -> Option<String> {
    let mut output: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.as_bytes()[at..]
        .iter()
        .position(|byte| !byte.is_ascii())
    {
        let start = at + found;
        let run = text.as_bytes()[start..].iter().position(u8::is_ascii);
        at = run.map_or(text.len(), |n_bytes| start + n_bytes);
        let run = Run {
            text: &text[start..at],
            before: &text[..start],
            after: &text[at..],
        };
        if let Some(better) = repair_run(&run) {
            let output = output.get_or_insert_with(|| String::with_capacity(text.len()));
            output.push_str(&text[copied..start]);
            output.push_str(&better);
            copied = at;
        }
    }
    let mut output = output?;
    output.push_str(&text[copied..]);
    Some(output)
}

/// Characters outside ASCII, with what is around them.
struct Run<'t> {
    text: &'t str,
    before: &'t str,
    after: &'t str,
}

fn repair_run(run: &Run<'_>) -> Option<String> {
    let first = run.text.chars().next()?;
    if first.len_utf8() == run.text.len() {
        // One character is mojibake only if it is a control character.
        return read_c1(first).map(String::from);
    }
    ByteEncoding::ALL
        .into_iter()
        .find_map(|encoding| repair_sequences(run, encoding))
        .or_else(|| gbk::repair(run.text))
        .or_else(|| repair_c1(run.text))
}

/// Reads again each stretch of UTF-8 sequences in a run that is likelier so.
fn repair_sequences(run: &Run<'_>, encoding: ByteEncoding) -> Option<String> {
    if !run
        .text
        .chars()
        .any(|character| encoding.is_first(character))
    {
        return None;
    }
    let characters: Vec<char> = run.text.chars().collect();
    let mut output = String::with_capacity(run.text.len());
    let mut is_better = false;
    let mut at = 0;
    while at < characters.len() {
        let stretch = Stretch::at(&characters[at..], encoding);
        if stretch.n_sequences == 0 {
            output.push(characters[at]);
            at += 1;
            continue;
        }
        let end = at + stretch.n_characters;
        let place = Place {
            encoding,
            found: &characters[at..end],
            n_sequences: stretch.n_sequences,
            before: output
                .chars()
                .next_back()
                .or_else(|| run.before.chars().next_back()),
            after: characters
                .get(end)
                .copied()
                .or_else(|| run.after.chars().next()),
        };
        let read = if stretch.text.contains(is_c1) {
            // Nobody writes control characters: it was read wrongly twice, or it is something else.
            read_whole(&stretch.text, ByteEncoding::Windows1252)
        } else {
            is_plausible(&place, &stretch.text).then_some(stretch.text)
        };
        match read {
            Some(read) => {
                output.push_str(&read);
                is_better = true;
            }
            None => output.extend(&characters[at..end]),
        }
        at = end;
    }
    is_better.then_some(output)
}

/// UTF-8 sequences one after the other, written in the characters of an encoding.
struct Stretch {
    n_sequences: usize,
    n_characters: usize,
    /// What they say.
    text: String,
}

impl Stretch {
    fn at(characters: &[char], encoding: ByteEncoding) -> Self {
        let mut stretch = Self {
            n_sequences: 0,
            n_characters: 0,
            text: String::new(),
        };
        while let Some((character, n_bytes)) =
            read_sequence(&characters[stretch.n_characters..], encoding)
        {
            stretch.n_sequences += 1;
            stretch.n_characters += n_bytes;
            stretch.text.push(character);
        }
        stretch
    }
}

/// The character whose UTF-8 the characters spell, and its number of bytes.
fn read_sequence(characters: &[char], encoding: ByteEncoding) -> Option<(char, usize)> {
    let first = encoding.byte(*characters.first()?)?;
    let n_bytes = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let mut bytes = [0; 4];
    for (byte, &character) in bytes.iter_mut().zip(characters.get(..n_bytes)?) {
        *byte = encoding.byte(character)?;
    }
    let text = std::str::from_utf8(&bytes[..n_bytes]).ok()?;
    Some((text.chars().next()?, n_bytes))
}

fn is_c1(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{9f}')
}

/// C1 control characters as the Windows-1252 characters of their bytes.
fn repair_c1(run: &str) -> Option<String> {
    run.chars()
        .any(|character| read_c1(character).is_some())
        .then(|| {
            run.chars()
                .map(|character| read_c1(character).unwrap_or(character))
                .collect()
        })
}

#[cfg(test)]
mod tests;
