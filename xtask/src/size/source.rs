//! Counting lines of one Rust file that rustfmt has laid out.
//!
//! rustfmt puts a closing brace under the first character of the item it closes, so indentation is
//! enough and no parser is needed.

/// A function that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// Counted from 1.
    pub(super) first_line: usize,
    pub(super) n_lines: usize,
}

/// The lines of a file without its inline test module.
pub(super) fn count_lines(text: &str) -> usize {
    without_tests(text).len()
}

/// The functions of more than `max_lines` lines from signature to brace, tests left out.
pub(super) fn long_functions(text: &str, max_lines: usize) -> Vec<Function> {
    let lines = without_tests(text);
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let Some(n_lines) = lines_to_brace(&lines[index..]) else {
            continue;
        };
        if n_lines > max_lines {
            functions.push(Function {
                name: name.to_owned(),
                first_line: index + 1,
                n_lines,
            });
        }
    }
    functions
}

/// All lines up to the last `#[cfg(test)] mod … {` at the left margin, and those after its brace.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |index: &usize| {
        lines[*index] == "#[cfg(test)]"
            && lines
                .get(index + 1)
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
    };
    let Some(start) = (0..lines.len()).find(is_start) else {
        return lines;
    };
    let n_lines = lines_to_brace(&lines[start + 1..]).unwrap_or(lines.len() - start - 1);
    [&lines[..start], &lines[start + 1 + n_lines..]].concat()
}

/// How many lines there are from the first to the brace that closes it.
fn lines_to_brace(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    if first.ends_with(';') || first.ends_with('}') {
        return Some(1);
    }
    let margin = &first[..first.len() - first.trim_start().len()];
    let is_end = |line: &&str| {
        line.strip_prefix(margin)
            .is_some_and(|rest| rest.starts_with('}') || rest.ends_with(';'))
            && !line[margin.len()..].starts_with(' ')
    };
    lines.iter().skip(1).position(is_end).map(|index| index + 2)
}

/// The name, if the line begins a function.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in ["pub", "const", "async", "unsafe", "extern \"C\""] {
        if let Some(after) = rest.strip_prefix(word) {
            // `pub(crate)` and `pub(super)`.
            let after = after
                .strip_prefix('(')
                .and_then(|a| a.split_once(')'))
                .map_or(after, |a| a.1);
            rest = after.strip_prefix(' ').unwrap_or(rest);
        }
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
//! A file.

impl A {
    pub(crate) const fn short(&self) -> usize {
        1
    }

    pub fn long<T>(
        &self,
        value: T,
    ) -> usize {
        if self.b {
            2
        } else {
            3
        }
    }
}

trait C {
    fn declared(&self);
}

#[cfg(test)]
mod tests {
    fn in_a_test() {
        todo!()
    }
}
";

    #[test]
    fn inline_tests_are_not_counted() {
        assert_eq!(FILE.lines().count(), 29);
        assert_eq!(count_lines(FILE), 23);
    }

    #[test]
    fn a_module_of_tests_in_its_own_file_is_one_line() {
        assert_eq!(count_lines("#[cfg(test)]\nmod tests;\n\nfn a() {}\n"), 4);
    }

    #[test]
    fn functions_are_measured_from_signature_to_brace() {
        let long = Function {
            name: "long".to_owned(),
            first_line: 8,
            n_lines: 10,
        };
        assert_eq!(long_functions(FILE, 3), [long]);
        let names: Vec<String> = long_functions(FILE, 0)
            .into_iter()
            .map(|f| f.name)
            .collect();
        assert_eq!(names, ["short", "long", "declared"]);
    }
}
