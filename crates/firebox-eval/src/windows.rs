//! Windows over a text that is longer than the context.

/// Tokens `start..end` of a text; the first `n_seen` scores of it were counted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First token.
    pub start: usize,
    /// One past the last token.
    pub end: usize,
    /// Scores (one a token after the window's first) that an earlier window has given.
    pub n_seen: usize,
}

/// Windows of at most `context` tokens that overlap by half and score every token but the first
/// once.
///
/// # Examples
/// ```
/// let windows = firebox_eval::windows(10, 6);
/// let scored: usize = windows.iter().map(|w| w.end - w.start - 1 - w.n_seen).sum();
/// assert_eq!(scored, 9);
/// ```
pub fn windows(n_tokens: usize, context: usize) -> Vec<Window> {
    let context = context.max(2);
    let stride = (context / 2).max(1);
    let mut windows = Vec::new();
    let mut scored_to = 1; // tokens before this one have a score, or need none
    let mut start = 0;
    while scored_to < n_tokens {
        let end = n_tokens.min(start + context);
        windows.push(Window {
            start,
            end,
            n_seen: scored_to - start - 1,
        });
        scored_to = end;
        start += stride;
    }
    windows
}

#[cfg(test)]
mod tests;
