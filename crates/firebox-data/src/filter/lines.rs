//! Lines and paragraphs, cut where datatrove cuts them.

use memchr::memchr;

use super::characters::is_space;

/// Python's `str.splitlines`: line ends are dropped, the empty line after the last one is not given.
pub(super) fn split_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, n_end_bytes) = match find_line_end(rest) {
            Some((at, n_end_bytes)) => (&rest[..at], n_end_bytes),
            None => (rest, 0),
        };
        rest = &rest[line.len() + n_end_bytes..];
        Some(line)
    })
}

/// The first line end and its length in bytes.
fn find_line_end(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += find_line_byte(&bytes[at..])?;
        match &bytes[at..] {
            [b'\r', b'\n', ..] => return Some((at, 2)),
            [0x0a..=0x0d | 0x1c..=0x1e, ..] => return Some((at, 1)),
            [0xc2, 0x85, ..] => return Some((at, 2)),
            [0xe2, 0x80, 0xa8 | 0xa9, ..] => return Some((at, 3)),
            _ => at += 1,
        }
    }
}

/// The first byte that may start a line end: 0x0A to 0x0D, 0x1C to 0x1E, and the first bytes of U+0085,
/// U+2028 and U+2029. Blocks without any are passed over by a loop that compiles to vector code.
fn find_line_byte(bytes: &[u8]) -> Option<usize> {
    let starts_line_end = |byte: u8| byte < 0x20 || byte == 0xc2 || byte == 0xe2;
    let has_any = |block: &[u8]| {
        block
            .iter()
            .fold(0, |found, &byte| found | u8::from(starts_line_end(byte)))
            != 0
    };
    let block = bytes.chunks(64).position(has_any)?;
    let from = block * 64;
    let found = bytes[from..]
        .iter()
        .position(|&byte| starts_line_end(byte))?;
    Some(from + found)
}

/// Cuts at every run of `\n`; a leading or trailing run gives an empty line, as `re.split("\n+")` does.
pub(super) fn split_at_newlines(text: &str) -> impl Iterator<Item = &str> {
    split_at_runs(text, 1)
}

/// Cuts the stripped text at runs of two or more `\n`.
pub(super) fn split_paragraphs(text: &str) -> impl Iterator<Item = &str> {
    split_at_runs(strip(text), 2)
}

/// Python's `str.strip`.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn split_at_runs(text: &str, n_least: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &text.as_bytes()[from..]) {
            let start = from + found;
            let run = text.as_bytes()[start..].iter().take_while(|&&b| b == b'\n');
            let end = start + run.count();
            if end - start >= n_least {
                rest = Some(&text[end..]);
                return Some(&text[..start]);
            }
            from = end;
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::{split_at_newlines, split_lines, split_paragraphs};

    #[test]
    fn lines_end_where_python_ends_them() {
        let text = "a\r\nb\rc\u{b}d\u{85}e\u{2028}f\n\ng é\n";
        let lines: Vec<_> = split_lines(text).collect();
        assert_eq!(lines, ["a", "b", "c", "d", "e", "f", "", "g é"]);
        assert_eq!(split_lines("").count(), 0);
    }

    #[test]
    fn runs_of_newlines_cut_once() {
        let lines: Vec<_> = split_at_newlines("\na\n\n\nb\n").collect();
        assert_eq!(lines, ["", "a", "b", ""]);
        let paragraphs: Vec<_> = split_paragraphs("\n\n a\nb\n\n\nc\n ").collect();
        assert_eq!(paragraphs, ["a\nb", "c"]);
        assert_eq!(split_paragraphs("").collect::<Vec<_>>(), [""]);
    }
}
