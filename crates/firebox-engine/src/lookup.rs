//! Guessing what comes next from what the text said before.

use crate::config::Speculation;

/// What followed where the last tokens stood last, at most `max` tokens; the longest run that is
/// found counts.
pub(crate) fn draft<'a>(speculation: &Speculation, tokens: &'a [u32], max: usize) -> &'a [u32] {
    let max = max.min(speculation.max_draft);
    for n in (2..=speculation.max_ngram).rev() {
        let Some(before) = tokens.len().checked_sub(n) else {
            continue;
        };
        let last = &tokens[before..];
        // The latest place that has something behind it beside the run itself.
        let at = tokens[..tokens.len() - 1]
            .windows(n)
            .rposition(|run| run == last);
        if let Some(at) = at {
            let follows = &tokens[at + n..];
            return &follows[..follows.len().min(max)];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_longest_run_is_guessed() {
        let speculation = Speculation {
            max_ngram: 3,
            max_draft: 2,
            max_rows: 8,
        };
        let guess = |tokens: &'static [u32]| draft(&speculation, tokens, 9);
        assert_eq!(guess(&[1, 2, 3, 4, 5, 1, 2, 3]), [4, 5]);
        // Two runs of two: the later one. Three tokens beat it.
        assert_eq!(guess(&[1, 2, 9, 9, 1, 2, 7, 8, 1, 2]), [7, 8]);
        assert_eq!(guess(&[5, 1, 2, 9, 4, 1, 2, 7, 5, 1, 2]), [9, 4]);
        assert_eq!(guess(&[7, 7, 7, 7]), [7]);
        assert!(guess(&[1, 2, 3]).is_empty() && guess(&[1]).is_empty() && guess(&[]).is_empty());
        assert_eq!(draft(&speculation, &[1, 2, 3, 4, 1, 2], 1), [3]);
        assert!(draft(&speculation, &[1, 2, 3, 4, 1, 2], 0).is_empty());
    }
}
