//! Cuts: nothing lost, nothing that depends on the reads, and bounded memory.

use std::io::{self, Read};

use proptest::prelude::*;

use super::super::boundary::Boundary;
use super::super::buffer::{BufferPool, MOST_HELD};
use super::{Cut, Cutter, Sizes};

/// Gives its bytes in reads of the given sizes, then an error if there is one.
struct Reads<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    error: Option<io::ErrorKind>,
}

impl Read for Reads<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return self.error.take().map_or(Ok(0), |kind| Err(kind.into()));
        }
        let n = self
            .sizes
            .next()
            .copied()
            .unwrap_or(1)
            .min(out.len())
            .min(self.bytes.len());
        out[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

fn sizes(block_bytes: usize, max_record_bytes: u64) -> Sizes {
    Sizes {
        block_bytes,
        max_record_bytes,
    }
}

fn lines<R: Read>(input: R, sizes: Sizes) -> Cutter<R> {
    Cutter::new(input, Boundary::Line, sizes, &BufferPool::default())
}

fn cuts<R: Read>(mut cutter: Cutter<R>) -> Vec<io::Result<Cut>> {
    std::iter::from_fn(|| cutter.next()).collect()
}

/// What a cut is, for comparison.
fn shown(cut: &Cut) -> (Option<Vec<u8>>, u64, u64, bool) {
    let bytes = cut.bytes.as_ref().map(|bytes| bytes.to_vec());
    (bytes, cut.offset, cut.number, cut.is_last)
}

proptest! {
    #[test]
    fn cuts_join_to_the_whole_and_know_their_lines(
        text in "[a\n]{0,200}",
        block_bytes in 1..40_usize,
        reads in prop::collection::vec(1..50_usize, 1..5),
    ) {
        let input = Reads { bytes: text.as_bytes(), sizes: reads.iter().cycle(), error: None };
        let found: Vec<_> = cuts(lines(input, sizes(block_bytes, 1000)))
            .iter()
            .map(|cut| shown(cut.as_ref().unwrap()))
            .collect();
        let mut joined: Vec<u8> = Vec::new();
        for (bytes, offset, number, _) in &found {
            prop_assert_eq!(*offset, joined.len() as u64);
            let n_before = joined.iter().filter(|&&byte| byte == b'\n').count();
            prop_assert_eq!(*number, n_before as u64 + 1);
            joined.extend_from_slice(bytes.as_ref().unwrap());
        }
        prop_assert_eq!(joined.as_slice(), text.as_bytes());
        let again: Vec<_> = cuts(lines(text.as_bytes(), sizes(block_bytes, 1000)))
            .iter()
            .map(|cut| shown(cut.as_ref().unwrap()))
            .collect();
        prop_assert_eq!(found, again);
    }

    #[test]
    fn only_lines_past_the_limit_are_lost(
        lengths in prop::collection::vec(0..60_usize, 0..20),
        block_bytes in 1..20_usize,
    ) {
        let limit = 30;
        let text: String = lengths.iter().map(|&n| "x".repeat(n) + "\n").collect();
        let mut kept = Vec::new();
        let mut lost = Vec::new();
        for cut in cuts(lines(text.as_bytes(), sizes(block_bytes, limit))) {
            let cut = cut.unwrap();
            match &cut.bytes {
                Some(bytes) => {
                    let cut_lines = bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.len() - 1);
                    kept.extend((cut.number..).zip(cut_lines));
                }
                None => lost.push(cut.number),
            }
        }
        // Lines a little past the limit may come whole; the parser looks again.
        for (number, &n) in (1..).zip(&lengths) {
            let is_kept = kept.contains(&(number, n));
            prop_assert_ne!(is_kept, lost.contains(&number));
            prop_assert!(is_kept || n as u64 >= limit, "line {} of {} bytes is lost", number, n);
        }
    }
}

#[test]
fn an_error_comes_after_all_whole_lines_before_it() {
    let input = Reads {
        bytes: b"one\ntwo\nthr",
        sizes: [100].iter().cycle(),
        error: Some(io::ErrorKind::UnexpectedEof),
    };
    let found = cuts(lines(input, sizes(1000, 1000)));
    assert_eq!(found.len(), 2);
    assert_eq!(
        **found[0].as_ref().unwrap().bytes.as_ref().unwrap(),
        *b"one\ntwo\n"
    );
    assert_eq!(
        found[1].as_ref().unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let found = cuts(lines("\u{feff}a\n".as_bytes(), sizes(1, 1000)));
    assert_eq!(
        **found[0].as_ref().unwrap().bytes.as_ref().unwrap(),
        *b"a\n"
    );
    assert_eq!(found[0].as_ref().unwrap().offset, 3);
}

#[test]
fn a_line_of_a_gigabyte_is_passed_over_in_bounded_memory() {
    let long = io::repeat(b'x').take(1 << 30);
    let input = (&b"one\n"[..]).chain(long).chain(&b"\nthree\n"[..]);
    let limit = 1 << 20;
    let found = cuts(lines(input, sizes(1 << 16, limit)));
    let found: Vec<Cut> = found.into_iter().map(Result::unwrap).collect();
    let most_held = MOST_HELD.get();
    assert!(
        (1 << 20..2 << 20).contains(&most_held),
        "{most_held} bytes held"
    );
    let numbers: Vec<_> = found
        .iter()
        .map(|cut| (cut.number, cut.bytes.is_some()))
        .collect();
    assert_eq!(numbers, [(1, true), (2, false), (3, true)]);
    assert_eq!(**found[2].bytes.as_ref().unwrap(), *b"three\n");
}

#[test]
fn a_citation_without_end_is_passed_over_to_the_next() {
    let text = [
        b"<PubmedArticle>".as_slice(),
        &[b'x'; 5000],
        b"</PubmedArticle>",
        b"<PubmedArticle></PubmedArticle>",
    ];
    let text = text.concat();
    let cutter = Cutter::new(
        &text[..],
        Boundary::Citation,
        sizes(100, 1000),
        &BufferPool::default(),
    );
    let found: Vec<_> = cuts(cutter)
        .iter()
        .map(|cut| shown(cut.as_ref().unwrap()))
        .collect();
    let second = (Some(b"<PubmedArticle></PubmedArticle>".to_vec()), 5031, 2);
    assert_eq!((found[0].0.clone(), found[0].1, found[0].2), (None, 0, 1));
    assert_eq!((found[1].0.clone(), found[1].1, found[1].2), second);
}
