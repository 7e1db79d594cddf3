//! Merges, cuts and the cache, each by itself.

use proptest::prelude::*;

use crate::fast_encoder::merges::{MergeBuffers, MergeTable};
use crate::fast_encoder::safe_cuts::SafeCuts;
use crate::fast_encoder::word_cache::{ShortKey, WordCache};

/// Merges as the paper writes them: the best pair of all, everywhere from the left, again and again.
fn merge_plainly(merges: &[(u32, u32, u32)], ids: &mut Vec<u32>) {
    let rank = |pair: &[u32]| merges.iter().rposition(|m| [m.0, m.1] == *pair);
    while let Some((rank, at)) = (0..ids.len().saturating_sub(1))
        .filter_map(|at| Some((rank(&ids[at..at + 2])?, at)))
        .min()
    {
        ids[at] = merges[rank].2;
        ids.remove(at + 1);
    }
}

proptest! {
    #[test]
    fn short_and_long_words_merge_as_the_paper_says(
        merges in prop::collection::vec((0..6u32, 0..6u32), 0..12),
        words in prop::collection::vec(prop::collection::vec(0..4u32, 0..120), 1..8),
    ) {
        // Each merge makes a new id, so that later ones can build on it.
        let merges: Vec<_> = merges.iter().zip(4..).map(|(&(left, right), id)| {
            (left.min(id - 1), right.min(id - 1), id)
        }).collect();
        let table = MergeTable::new(&merges);
        let mut buffers = MergeBuffers::default();
        for word in words {
            let (mut ids, mut expected) = (word.clone(), word);
            table.merge(&mut ids, &mut buffers);
            merge_plainly(&merges, &mut expected);
            prop_assert_eq!(ids, expected);
        }
    }

    #[test]
    fn no_cut_goes_through_a_token(
        tokens in prop::collection::vec("[a-cé血液氧气👍]{1,4}", 1..12),
        text in "[a-cé血液氧气👍]{1,40}",
        trim in prop::collection::vec((0..4usize, 0..4usize), 12),
    ) {
        // Tokens of byte-level models may start and end within a character.
        let tokens: Vec<&[u8]> = tokens.iter().zip(&trim).map(|(token, &(front, back))| {
            let bytes = token.as_bytes();
            bytes.get(front..bytes.len().saturating_sub(back)).unwrap_or(bytes)
        }).collect();
        let mut cuts = SafeCuts::new();
        for token in &tokens {
            cuts.add_token(token);
        }
        let mut ends = vec![0];
        cuts.for_each_part(text.as_bytes(), 0, text.len(), |start, end| {
            assert_eq!(start, ends[ends.len() - 1]);
            ends.push(end);
        });
        prop_assert_eq!(ends[ends.len() - 1], text.len());
        for token in tokens.iter().filter(|token| !token.is_empty()) {
            let places = text.as_bytes().windows(token.len()).enumerate();
            for (at, _) in places.filter(|(_, window)| window == token) {
                prop_assert!(!ends.iter().any(|&end| at < end && end < at + token.len()));
            }
        }
    }

    #[test]
    fn keys_are_the_same_for_the_same_words_alone(
        text in "[ -~é血]{0,40}",
        ranges in prop::collection::vec((0..40usize, 1..16usize), 2..10),
    ) {
        let bytes = text.as_bytes();
        let words: Vec<_> = ranges.iter()
            .filter(|(start, n_bytes)| start + n_bytes <= bytes.len())
            .map(|&(start, n_bytes)| (start, start + n_bytes))
            .collect();
        for &(a, b) in &words {
            prop_assert_eq!(ShortKey::new(bytes, a, b, false).is_ascii(), bytes[a..b].is_ascii());
            for &(c, d) in &words {
                let same = bytes[a..b] == bytes[c..d];
                let key = ShortKey::new(bytes, a, b, false);
                prop_assert_eq!(key == ShortKey::new(bytes, c, d, false), same);
                prop_assert_ne!(key, ShortKey::new(bytes, c, d, true));
            }
        }
    }
}

#[test]
fn the_cache_gives_back_what_it_was_given_or_nothing() {
    let mut cache = WordCache::default();
    let word = |n: u32| format!("word {n}");
    let ids_of = |n: u32| (0..n % 7 + 1).map(|i| n + i).collect::<Vec<_>>();
    for n in 0..400_000 {
        let text = word(n);
        let key = ShortKey::new(text.as_bytes(), 0, text.len(), false);
        cache.insert_short(key, &ids_of(n));
        cache.insert_long(text.as_bytes(), &ids_of(n));
    }
    let (mut n_short, mut n_long) = (0, 0);
    for n in 0..400_000 {
        let text = word(n);
        let key = ShortKey::new(text.as_bytes(), 0, text.len(), false);
        let (mut short, mut long) = (vec![7], vec![7]);
        if cache.push_short(key, &mut short) {
            assert_eq!(short[1..], ids_of(n));
            n_short += 1;
        }
        if cache.push_long(text.as_bytes(), &mut long) {
            assert_eq!(long[1..], ids_of(n));
            n_long += 1;
        }
    }
    assert!((1000..=1 << 17).contains(&n_short), "{n_short} short words");
    assert!((1..=1 << 13).contains(&n_long), "{n_long} long words");
}
