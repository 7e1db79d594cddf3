//! Reads calls of functions out of an answer while it is written.
//!
//! A text begins like a call or it never has one; see [`tools`](crate::tools). Of a call the name is
//! known first, then its arguments come in pieces.

use crate::tools::{CLOSE, OPEN};

/// What a piece of an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Words.
    Text(String),
    /// A call of this function begins.
    Call(String),
    /// Arguments of the call that began last, a piece of JSON.
    Arguments(String),
}

/// Follows one answer.
#[derive(Debug, Default)]
pub(crate) struct CallReader {
    state: State,
    /// What was read and not given yet.
    held: String,
    /// Calls that have begun.
    n_calls: usize,
}

#[derive(Debug, Default)]
enum State {
    /// Before a call's arguments.
    #[default]
    Head,
    /// Within them.
    Arguments(Nesting),
    /// Behind them, as far as the end of the call.
    Tail,
    /// Words.
    Text,
}

/// Where in a piece of JSON one is.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

/// How the beginning of a call goes on.
enum Head {
    /// It is not whole.
    Open,
    /// Otherwise than one.
    No,
    /// The function, and where its arguments begin.
    Found(String, usize),
}

impl CallReader {
    /// Reads on.
    pub(crate) fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// The answer is over: gives what was held as words. What is left of a call that was cut off is
    /// nothing.
    pub(crate) fn finish(&mut self) -> Option<Part> {
        let rest = std::mem::take(&mut self.held);
        (self.n_calls == 0 && !rest.is_empty()).then_some(Part::Text(rest))
    }

    /// Calls that have begun: a text that is not read to its end may have more.
    pub(crate) fn n_calls(&self) -> usize {
        self.n_calls
    }

    /// Gives a part of what is held; `false` when more must be read first.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match &mut self.state {
            State::Text => {
                let text = std::mem::take(&mut self.held);
                if !text.is_empty() {
                    parts.push(Part::Text(text));
                }
                false
            }
            State::Head => match head(&self.held) {
                Head::Open => false,
                // Behind a call, only a call can follow.
                Head::No if self.n_calls > 0 => false,
                Head::No => {
                    self.state = State::Text;
                    true
                }
                Head::Found(name, end) => {
                    self.held.drain(..end);
                    parts.push(Part::Call(name));
                    self.n_calls += 1;
                    self.state = State::Arguments(Nesting::default());
                    true
                }
            },
            State::Arguments(nesting) => {
                let end = nesting.end(&self.held);
                let n = end.unwrap_or(self.held.len());
                if n > 0 {
                    parts.push(Part::Arguments(self.held.drain(..n).collect()));
                }
                if end.is_some() {
                    self.state = State::Tail;
                }
                end.is_some()
            }
            State::Tail => match self.held.find(CLOSE) {
                None => false,
                Some(at) => {
                    self.held.drain(..at + CLOSE.len());
                    self.state = State::Head;
                    true
                }
            },
        }
    }
}

impl Nesting {
    /// Reads on; gives where the object ends, if it does.
    fn end(&mut self, text: &str) -> Option<usize> {
        for (i, byte) in text.bytes().enumerate() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(i + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// Reads `<tool_call>` and `{"name": "…", "arguments": `.
fn head(text: &str) -> Head {
    let Some(mut rest) = text.trim_start().strip_prefix(OPEN) else {
        return match OPEN.starts_with(text.trim_start()) {
            true => Head::Open,
            false => Head::No,
        };
    };
    let mut name = None;
    for expected in ["{", "\"name\"", ":", "", ",", "\"arguments\"", ":"] {
        rest = rest.trim_start();
        if expected.is_empty() {
            // The name: it has nothing to be escaped.
            let Some(quoted) = rest.strip_prefix('"') else {
                return if rest.is_empty() {
                    Head::Open
                } else {
                    Head::No
                };
            };
            let Some((found, after)) = quoted.split_once('"') else {
                return Head::Open;
            };
            (name, rest) = (Some(found), after);
        } else if let Some(after) = rest.strip_prefix(expected) {
            rest = after;
        } else {
            return match expected.starts_with(rest) {
                true => Head::Open,
                false => Head::No,
            };
        }
    }
    let rest = rest.trim_start();
    match (name, rest.bytes().next()) {
        (_, None) => Head::Open,
        (Some(name), Some(b'{')) => Head::Found(name.to_owned(), text.len() - rest.len()),
        _ => Head::No,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything in one, neighbours of a kind joined.
    fn read(pieces: &[&str]) -> Vec<Part> {
        let (mut reader, mut all) = (CallReader::default(), Vec::<Part>::new());
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
        parts.extend(reader.finish());
        for part in parts {
            match (all.last_mut(), part) {
                (Some(Part::Text(before)), Part::Text(text))
                | (Some(Part::Arguments(before)), Part::Arguments(text)) => before.push_str(&text),
                (_, part) => all.push(part),
            }
        }
        all
    }

    const TWO: &str = "<tool_call>\n{\"name\":\"a\", \"arguments\": {\"x\":\"}\\\"{\",\"y\":[{}]}}\n\
                       </tool_call>\n<tool_call>\n{\"name\": \"b-2\",\"arguments\":{}}\n</tool_call>";

    fn two() -> Vec<Part> {
        vec![
            Part::Call("a".to_owned()),
            Part::Arguments("{\"x\":\"}\\\"{\",\"y\":[{}]}".to_owned()),
            Part::Call("b-2".to_owned()),
            Part::Arguments("{}".to_owned()),
        ]
    }

    #[test]
    fn calls_come_in_pieces() {
        assert_eq!(read(&[TWO]), two());
        let mut reader = CallReader::default();
        let given: Vec<Part> = TWO[..60]
            .chars()
            .flat_map(|c| reader.push(&c.to_string()))
            .collect();
        // Each character of the arguments at once.
        assert!(
            given.contains(&Part::Arguments("y".to_owned())),
            "{given:?}"
        );
    }

    #[test]
    fn words_are_words() {
        for text in [
            "hello",
            "<b>",
            "<tool_",
            "<tool_call>\n{\"name\": 1}\n</tool_call>",
            "<tool_call>\n{\"na",
            "<tool_call>\n{\"name\": \"a\", \"arguments\": 3}\n</tool_call>",
        ] {
            assert_eq!(read(&[text]), [Part::Text(text.to_owned())]);
        }
        assert_eq!(read(&[]), []);
        // A call that is cut off is a call.
        let cut = "<tool_call>\n{\"name\": \"a\", \"arguments\": {\"x\": ";
        let expected = [
            Part::Call("a".to_owned()),
            Part::Arguments("{\"x\": ".to_owned()),
        ];
        assert_eq!(read(&[cut]), expected);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in prop::collection::vec(0..TWO.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, TWO.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|pair| &TWO[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), two());
        }

        #[test]
        fn any_text_is_read(text in "(<tool_call>\n)?[{}\\[\\]\"a-z:, \n\\\\]{0,60}") {
            let whole = read(&[&text]);
            let characters: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = characters.iter().map(String::as_str).collect();
            prop_assert_eq!(read(&pieces), whole);
        }
    }
}
