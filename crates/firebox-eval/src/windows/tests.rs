use super::*;

#[test]
fn every_token_is_scored_once_with_half_a_context_before_it() {
    for n_tokens in 0..200 {
        for context in 2..20 {
            let mut next = 1;
            for window in windows(n_tokens, context) {
                assert!(window.end - window.start <= context);
                let first = window.start + 1 + window.n_seen;
                assert_eq!(first, next, "{n_tokens} tokens, context {context}");
                assert!(next == 1 || first - window.start >= context / 2);
                next = window.end;
            }
            assert_eq!(next, n_tokens.max(1));
        }
    }
}
