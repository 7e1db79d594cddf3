//! datatrove's lists of punctuation, on which its definitions of the Gopher and FineWeb rules rest.
//!
//! Source: `src/datatrove/utils/text.py` in <https://github.com/huggingface/datatrove>, 0.10.

/// Characters that end a sentence in some script, as ranges: Unicode's property `Sentence_Terminal`, less
/// the characters that came to it lately, plus three of Khmer.
const TERMINAL: [(u32, u32); 82] = [
    (0x0021, 0x0021),
    (0x002E, 0x002E),
    (0x003F, 0x003F),
    (0x0589, 0x0589),
    (0x061D, 0x061F),
    (0x06D4, 0x06D4),
    (0x0700, 0x0702),
    (0x07F9, 0x07F9),
    (0x0837, 0x0837),
    (0x0839, 0x0839),
    (0x083D, 0x083E),
    (0x0964, 0x0965),
    (0x104A, 0x104B),
    (0x1362, 0x1362),
    (0x1367, 0x1368),
    (0x166E, 0x166E),
    (0x1735, 0x1736),
    (0x17D4, 0x17D6),
    (0x17D9, 0x17DA),
    (0x1803, 0x1803),
    (0x1809, 0x1809),
    (0x1944, 0x1945),
    (0x1AA8, 0x1AAB),
    (0x1B5A, 0x1B5B),
    (0x1B5E, 0x1B5F),
    (0x1B7D, 0x1B7E),
    (0x1C3B, 0x1C3C),
    (0x1C7E, 0x1C7F),
    (0x203C, 0x203D),
    (0x2047, 0x2049),
    (0x2E2E, 0x2E2E),
    (0x2E3C, 0x2E3C),
    (0x2E53, 0x2E54),
    (0x3002, 0x3002),
    (0xA4FF, 0xA4FF),
    (0xA60E, 0xA60F),
    (0xA6F3, 0xA6F3),
    (0xA6F7, 0xA6F7),
    (0xA876, 0xA877),
    (0xA8CE, 0xA8CF),
    (0xA92F, 0xA92F),
    (0xA9C8, 0xA9C9),
    (0xAA5D, 0xAA5F),
    (0xAAF0, 0xAAF1),
    (0xABEB, 0xABEB),
    (0xFE52, 0xFE52),
    (0xFE56, 0xFE57),
    (0xFF01, 0xFF01),
    (0xFF0E, 0xFF0E),
    (0xFF1F, 0xFF1F),
    (0xFF61, 0xFF61),
    (0x10A56, 0x10A57),
    (0x10F55, 0x10F59),
    (0x10F86, 0x10F89),
    (0x11047, 0x11048),
    (0x110BE, 0x110C1),
    (0x11141, 0x11143),
    (0x111C5, 0x111C6),
    (0x111CD, 0x111CD),
    (0x111DE, 0x111DF),
    (0x11238, 0x11239),
    (0x1123B, 0x1123C),
    (0x112A9, 0x112A9),
    (0x1144B, 0x1144C),
    (0x115C2, 0x115C3),
    (0x115C9, 0x115D7),
    (0x11641, 0x11642),
    (0x1173C, 0x1173E),
    (0x11944, 0x11944),
    (0x11946, 0x11946),
    (0x11A42, 0x11A43),
    (0x11A9B, 0x11A9C),
    (0x11C41, 0x11C42),
    (0x11EF7, 0x11EF8),
    (0x11F43, 0x11F44),
    (0x16A6E, 0x16A6F),
    (0x16AF5, 0x16AF5),
    (0x16B37, 0x16B38),
    (0x16B44, 0x16B44),
    (0x16E98, 0x16E98),
    (0x1BC9F, 0x1BC9F),
    (0x1DA88, 0x1DA88),
];

/// The list's other characters outside ASCII; the digit one, full width, is in it.
const OTHER: &str = "«´»–—’“”„…∶━►、〈〉《》「」【】％（），１：；～";

/// Whether a character ends a sentence.
pub(super) fn is_terminal(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, '.' | '!' | '?');
    }
    let code = u32::from(character);
    let after = TERMINAL.partition_point(|&(first, _)| first <= code);
    after > 0 && code <= TERMINAL[after - 1].1
}

/// Whether a character is punctuation or a control character, so that a word of such characters alone is a
/// *symbol word*.
pub(super) fn is_punctuation(character: char) -> bool {
    match character {
        '\t' | '\n' => false,
        '\0'..='\u{7f}' => character.is_ascii_punctuation() || character.is_ascii_control(),
        '\u{80}'..='\u{9f}' => true,
        _ => OTHER.contains(character) || is_terminal(character),
    }
}

#[cfg(test)]
mod tests {
    use super::{TERMINAL, is_punctuation, is_terminal};

    #[test]
    fn ranges_of_terminals_are_sorted_and_apart() {
        assert!(TERMINAL.iter().all(|&(first, last)| first <= last));
        assert!(TERMINAL.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn terminals_of_several_scripts_end_sentences() {
        for character in ['.', '?', '!', '。', '！', '؟', '।', '።'] {
            assert!(
                is_terminal(character) && is_punctuation(character),
                "{character}"
            );
        }
        for character in [',', ';', '…', '"', ':', '，', 'a', '\u{2e60}'] {
            assert!(!is_terminal(character), "{character}");
        }
    }

    #[test]
    fn comparison_signs_and_degrees_are_no_punctuation() {
        for character in ['≥', '×', '°', '±', '•', '2', 'a', '的'] {
            assert!(!is_punctuation(character), "{character}");
        }
        for character in ['-', '_', '$', '\u{1f}', '\u{80}', '，', '１'] {
            assert!(is_punctuation(character), "{character}");
        }
    }
}
