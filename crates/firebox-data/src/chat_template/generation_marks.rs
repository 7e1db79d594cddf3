//! `{% generation %}` .. `{% endgeneration %}`: how a template marks the assistant's words.
//!
//! minijinja does not know these tags. They are renamed to a filter block, which prints its inside
//! unchanged or, when marks are wanted, between two characters that the conversation does not
//! contain.

use std::ops::Range;

use minijinja::{State, Value};

use crate::Message;

/// The filter that a `{% generation %}` block becomes.
pub(super) const FILTER: &str = "firebox_generation";

const OPEN: &str = "firebox_generation_open";
const CLOSE: &str = "firebox_generation_close";

/// The texts that stand for the start and the end of a marked range.
pub(super) struct GenerationMarks {
    open: String,
    close: String,
}

/// Renames the tags; none if the template has none.
pub(super) fn to_filter_blocks(source: &str) -> Option<String> {
    let mut renamed = String::new();
    let mut rest = source;
    let mut n_tags = 0;
    while let Some(start) = rest.find("{").filter(|&start| start + 2 <= rest.len()) {
        let after_brace = start + 1;
        let closes_with = match rest.as_bytes()[after_brace] {
            b'%' => "%}",
            b'#' => "#}",
            _ => {
                renamed.push_str(&rest[..after_brace]);
                rest = &rest[after_brace..];
                continue;
            }
        };
        let (before, tag) = rest.split_at(after_brace + 1);
        renamed.push_str(before);
        rest = tag;
        let Some(end) = rest.find(closes_with) else {
            break;
        };
        let inside = &rest[..end];
        let name = inside
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        let new_name = match name {
            "generation" if closes_with == "%}" => format!("filter {FILTER}"),
            "endgeneration" if closes_with == "%}" => "endfilter".to_string(),
            _ => name.to_string(),
        };
        n_tags += usize::from(new_name != name);
        // Blanks and signs beside the name stay, and line breaks with them.
        renamed.push_str(&inside.replacen(name, &new_name, 1));
        rest = &rest[end..];
    }
    renamed.push_str(rest);
    (n_tags > 0).then_some(renamed)
}

/// The filter: the inside of the block, between marks if this rendering has any.
pub(super) fn mark(state: &State, inside: &str) -> String {
    let text_of = |name| {
        state
            .lookup(name)
            .and_then(|value| value.as_str().map(str::to_string))
    };
    match (text_of(OPEN), text_of(CLOSE)) {
        (Some(open), Some(close)) => format!("{open}{inside}{close}"),
        _ => inside.to_string(),
    }
}

impl GenerationMarks {
    /// Marks of Unicode noncharacters, so many that no message contains them.
    pub(super) fn unused_in(messages: &[Message]) -> Self {
        let mut n_repeats = 1;
        loop {
            let open = "\u{fdd0}".repeat(n_repeats) + "\u{fdd1}";
            let close = "\u{fdd0}".repeat(n_repeats) + "\u{fdd2}";
            let is_used = |text: &str| text.contains(&open) || text.contains(&close);
            if !messages
                .iter()
                .any(|m| is_used(&m.content) || is_used(&m.role))
            {
                return Self { open, close };
            }
            n_repeats += 1;
        }
    }

    /// What the filter looks up.
    pub(super) fn variables(&self) -> [(&'static str, Value); 2] {
        [
            (OPEN, self.open.as_str().into()),
            (CLOSE, self.close.as_str().into()),
        ]
    }

    /// Takes the marks out of a rendered text; the ranges are those of the text without them.
    pub(super) fn take_out(&self, marked: &str) -> (String, Vec<Range<usize>>) {
        let mut text = String::with_capacity(marked.len());
        let mut ranges = Vec::new();
        let mut rest = marked;
        while let Some((before, after)) = rest.split_once(&self.open) {
            text.push_str(before);
            let (inside, after) = after.split_once(&self.close).unwrap_or((after, ""));
            ranges.push(text.len()..text.len() + inside.len());
            text.push_str(inside);
            rest = after;
        }
        text.push_str(rest);
        (text, ranges)
    }
}
