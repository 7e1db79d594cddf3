use proptest::prelude::*;

use super::{CharacterCounts, is_space};

#[test]
fn characters_are_counted_by_class() {
    let counts = CharacterCounts::of("Ab1 é２\u{301}。\n你%");
    assert_eq!(counts.n_characters, 11);
    assert_eq!((counts.n_letters, counts.n_digits), (4, 2));
    assert_eq!(
        (counts.n_spaces, counts.n_marks, counts.n_symbols()),
        (2, 1, 2)
    );
    assert_eq!(counts.n_unspaced, 1);
}

#[test]
fn a_latin_word_after_chinese_characters_is_a_word() {
    assert_eq!(CharacterCounts::of("你好Python世界！ok").n_words, 6);
    assert_eq!(CharacterCounts::of("你好! ok").n_words, 3);
    assert_eq!(CharacterCounts::of("你好! ok").n_spaced_words, 2);
}

proptest! {
    /// The block path and the character path agree, wherever the blocks fall.
    #[test]
    fn counts_are_those_of_one_pass_over_characters(text in "[a-c1 \\n\u{1c}.é你\u{3000}]{0,300}") {
        let counts = CharacterCounts::of(&text);
        let count = |test: fn(char) -> bool| text.chars().filter(|&c| test(c)).count();
        prop_assert_eq!(counts.n_characters, text.chars().count());
        prop_assert_eq!(counts.n_letters, count(char::is_alphabetic));
        prop_assert_eq!(counts.n_digits, count(char::is_numeric));
        prop_assert_eq!(counts.n_spaces, count(is_space));
        let runs = text.split(is_space).filter(|run| !run.is_empty());
        prop_assert_eq!(counts.n_spaced_words, runs.clone().count());
        // In each run, Chinese characters, and between them what has a letter or digit, or starts the run.
        let words = runs.map(|run| {
            let parts = run.split('你').enumerate();
            let proper = parts.filter(|(at, part)| {
                !part.is_empty() && (*at == 0 || part.chars().any(char::is_alphanumeric))
            });
            proper.count() + run.matches('你').count()
        });
        prop_assert_eq!(counts.n_words, words.sum::<usize>());
    }

    #[test]
    fn ascii_counts_do_not_depend_on_where_the_text_starts(text in "[a-z0-9 ,.\\n]{0,400}", n in 0..70usize) {
        let padded = CharacterCounts::of(&(" ".repeat(n) + &text));
        let plain = CharacterCounts::of(&text);
        prop_assert_eq!(padded.n_words, plain.n_words);
        prop_assert_eq!(padded.n_spaces, plain.n_spaces + n);
        prop_assert_eq!(padded.n_symbols(), plain.n_symbols());
    }
}
