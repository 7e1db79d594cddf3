//! Disjoint sets that many threads may join at once.

use std::sync::atomic::{AtomicU32, Ordering};

/// Sets of the numbers `0 .. n`; four bytes each.
///
/// A set's root is its least number, so that the result depends on which pairs were joined and on nothing
/// else: not on their order, and not on the threads. A root is only ever linked to a smaller number, by
/// a compare-and-swap that fails if it is no root any more; paths are halved on the way up.
///
/// Source: Anderson and Woll (1991), "Wait-free parallel algorithms for the union-find problem", with the
/// order of the numbers in place of ranks.
#[derive(Debug)]
pub(super) struct UnionFind {
    parents: Vec<AtomicU32>,
}

impl UnionFind {
    pub(super) fn new(n: u32) -> Self {
        Self {
            parents: (0..n).map(AtomicU32::new).collect(),
        }
    }

    /// Joins the sets of two numbers; whether they were two.
    ///
    /// # Panics
    ///
    /// If a number is not below `n`.
    pub(super) fn join(&self, left: u32, right: u32) -> bool {
        let (mut left, mut right) = (left, right);
        loop {
            left = self.root(left);
            right = self.root(right);
            if left == right {
                return false;
            }
            let (least, other) = (left.min(right), left.max(right));
            let linked = self.parents[other as usize].compare_exchange(
                other,
                least,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            if linked.is_ok() {
                return true;
            }
        }
    }

    /// The root of a number, at this moment.
    fn root(&self, number: u32) -> u32 {
        let mut at = number;
        loop {
            let parent = self.parents[at as usize].load(Ordering::Acquire);
            if parent == at {
                return at;
            }
            let grandparent = self.parents[parent as usize].load(Ordering::Acquire);
            if grandparent != parent {
                // Whoever comes first may halve the path; losing the race costs nothing.
                let _ = self.parents[at as usize].compare_exchange_weak(
                    parent,
                    grandparent,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
            }
            at = grandparent;
        }
    }

    /// The least number of each number's set.
    pub(super) fn into_roots(self) -> Vec<u32> {
        let mut roots: Vec<u32> = self
            .parents
            .into_iter()
            .map(AtomicU32::into_inner)
            .collect();
        // A parent is smaller than its children, so that it is final before they are reached.
        for number in 0..roots.len() {
            roots[number] = roots[roots[number] as usize];
        }
        roots
    }
}

#[cfg(test)]
mod tests;
