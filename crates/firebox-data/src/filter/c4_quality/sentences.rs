//! Counting sentences.

use super::super::punctuation::{is_punctuation, is_terminal};
use super::super::words::{Segmenter, for_each_word};

/// How many sentences a line has: one more starts with each word that follows a mark that ends sentences.
///
/// Source: spaCy's `sentencizer`, which datatrove uses. A full stop inside a word (`e.g.`, `2.5`) is no mark.
pub(super) fn count_sentences(line: &str) -> u32 {
    let mut n_sentences = 0;
    let mut ended = true;
    for_each_word(line, &Segmenter::characters(), |word| {
        let word = &line[word];
        if is_mark(word) {
            ended = true;
            n_sentences = n_sentences.max(1);
        } else if ended && !is_all_punctuation(word) {
            ended = false;
            n_sentences += 1;
        }
    });
    n_sentences
}

fn is_mark(word: &str) -> bool {
    let mut characters = word.chars();
    characters.next().is_some_and(is_terminal) && characters.next().is_none()
}

/// Whether all characters are of Unicode's classes P; `$+<=>^|~` and the backquote are symbols.
fn is_all_punctuation(word: &str) -> bool {
    word.chars().all(|character| {
        is_punctuation(character)
            && !matches!(
                character,
                '$' | '+' | '<' | '=' | '>' | '^' | '|' | '~' | '`'
            )
    })
}
