//! Putting the keys and values of many tokens into their pages, on all threads.

#![expect(
    unsafe_code,
    reason = "threads write different pages of one pool through a pointer"
)]

use super::kv_page::{AttentionShape, KvPage};
use super::parallel::{SharedMut, for_each};
use super::simd::{Kernel, Simd, dispatch};

/// Puts the keys and values of rows into pages: those of row `i` into page `places[i].0`, at place
/// `places[i].1` of its 64. Rows of one page stand together.
///
/// # Shapes
/// `rows`: rows of `stride` values that end with `[keys, values]`, `[kv_heads, head_dim]` each.
///
/// # Panics
/// When there are fewer rows than places, or no such page or place.
pub fn write_pages(
    shape: &AttentionShape,
    pages: &mut [KvPage],
    rows: &[f32],
    stride: usize,
    places: &[(u32, usize)],
) {
    assert!(rows.len() >= places.len() * stride, "a row for each place");
    assert!(
        places
            .iter()
            .all(|(page, _)| (*page as usize) < pages.len()),
        "places in pages that are there"
    );
    let runs: Vec<&[(u32, usize)]> = places.chunk_by(|a, b| a.0 == b.0).collect();
    let mut starts = Vec::with_capacity(runs.len());
    let mut start = 0;
    for run in &runs {
        starts.push(start);
        start += run.len();
    }
    let mut ids: Vec<u32> = runs.iter().map(|run| run[0].0).collect();
    ids.sort_unstable();
    let all_differ = ids.windows(2).all(|pair| pair[0] != pair[1]);
    let pages = SharedMut::new(pages);
    let write = |run: usize| {
        // SAFETY: the page is there, and no other run that is written meanwhile has it.
        let page = unsafe { &mut *pages.ptr().add(runs[run][0].0 as usize) };
        let task = WriteTask {
            shape,
            page,
            rows: &rows[starts[run] * stride..],
            stride,
            places: runs[run],
        };
        dispatch(shape.level, task);
    };
    match all_differ {
        true => for_each(runs.len(), write),
        false => (0..runs.len()).for_each(write),
    }
}

struct WriteTask<'a> {
    shape: &'a AttentionShape,
    page: &'a mut KvPage,
    rows: &'a [f32],
    stride: usize,
    places: &'a [(u32, usize)],
}

impl Kernel for WriteTask<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.shape.n_kv_heads * self.shape.head_dim;
        for ((_, place), row) in self.places.iter().zip(self.rows.chunks_exact(self.stride)) {
            let (keys, values) = row[self.stride - 2 * width..].split_at(width);
            self.page.write(self.shape, *place, keys, values);
        }
    }
}
