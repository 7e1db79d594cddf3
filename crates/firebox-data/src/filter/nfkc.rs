//! Unicode normalization form KC.

use std::ops::ControlFlow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::rule::{Input, Parameters, Problems, Report, Rule, parameters};

parameters! {
    /// Rewrites the text in Unicode normalization form KC: composed accents, and one form for what is the
    /// same in another shape. `ﬁ` becomes `fi`, `Ａ` `A`, a no-break space a space; also `m²` becomes `m2`.
    ///
    /// Source: Unicode Standard Annex 15, <https://www.unicode.org/reports/tr15/>.
    Nfkc {}
}

impl Parameters for Nfkc {
    fn check(&self, _problems: &mut Problems<'_>) {}

    fn build(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for Nfkc {
    fn judge(&self, input: &Input<'_>, _: &mut Report<'_>) -> ControlFlow<(), Option<String>> {
        ControlFlow::Continue(normalize(input.text()))
    }
}

/// The text in form KC; none if it is in it already.
///
/// Only runs of other characters than ASCII are looked at, each with the character before it: an ASCII
/// character is in form KC and composes with nothing before it.
fn normalize(text: &str) -> Option<String> {
    let mut changed: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.as_bytes()[at..]
        .iter()
        .position(|byte| !byte.is_ascii())
    {
        let start = at + found;
        let run = text.as_bytes()[start..].iter().position(u8::is_ascii);
        at = run.map_or(text.len(), |n_bytes| start + n_bytes);
        if is_nfkc_quick(text[start..at].chars()) == IsNormalized::Yes {
            continue;
        }
        let start = if start > copied { start - 1 } else { start };
        let output = changed.get_or_insert_with(|| String::with_capacity(text.len()));
        output.push_str(&text[copied..start]);
        output.extend(text[start..at].nfkc());
        copied = at;
    }
    let mut output = changed?;
    output.push_str(&text[copied..]);
    (output != text).then_some(output)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::normalize;

    #[test]
    fn normal_text_is_left_alone() {
        for text in ["", "plain", "café, naïve, 你好。", "Ω and ≥"] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }

    #[test]
    fn shapes_become_plain_and_accents_compose() {
        let text = "ﬁne ＡＢＣ e\u{301}te\u{301} 1\u{a0}m²…";
        assert_eq!(normalize(text).as_deref(), Some("fine ABC été 1 m2..."));
    }

    proptest! {
        #[test]
        fn any_text_ends_as_the_library_would_normalize_it(
            text in "[a-c ]{0,2}(\\PC|[\u{300}-\u{330}a\u{1100}-\u{1112}\u{1161}-\u{1175}\u{11a8}-\u{11c2}ﬁ]){0,12}"
        ) {
            let expected: String = text.nfkc().collect();
            let found = normalize(&text);
            prop_assert_eq!(found.is_some(), expected != text);
            prop_assert_eq!(found.unwrap_or(text), expected);
        }

        #[test]
        fn normalizing_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = normalize(&text).unwrap_or(text);
            prop_assert_eq!(normalize(&once), None);
        }
    }
}
