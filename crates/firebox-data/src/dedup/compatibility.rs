//! NFKC, for texts that are mostly ASCII.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// The text in NFKC.
///
/// ASCII is its own NFKC, and only a character before a mark can change with it, so that only the
/// runs of other characters are normalized, each with the one ASCII character before it.
///
/// Source: Unicode Standard Annex 15, section 9 (stable code points).
pub(super) fn nfkc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(first) = bytes[at..].iter().position(|byte| !byte.is_ascii()) {
        let run_start = at + first;
        let run = &bytes[run_start..];
        let run_end = run_start + run.iter().position(u8::is_ascii).unwrap_or(run.len());
        let with_base = &text[run_start.saturating_sub(1).max(copied)..run_end];
        if is_nfkc_quick(with_base.chars()) != IsNormalized::Yes {
            out.push_str(&text[copied..run_end - with_base.len()]);
            out.extend(with_base.nfkc());
            copied = run_end;
        }
        at = run_end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}
