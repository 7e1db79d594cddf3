//! Panels whose weights become f32 as they are read.
//!
//! A panel holds two vectors of neighbouring outputs for every input: `[in, 2 * LANES]`.

#![expect(
    unsafe_code,
    reason = "weights are read through pointers in the innermost loop"
)]

use std::mem::MaybeUninit;
use std::ops::Range;

use super::dense_panel::{Multiplied, StridedPanel};
use super::float_matmul::BLOCK_DEPTH;
use super::gemm::TILE_WIDTH;
use super::simd::Simd;

/// Inputs of one block of NF4 or FP4.
pub(crate) const NF4_BLOCK: usize = crate::packed::NF4_BLOCK_SIZE;

/// A panel that the innermost loop reads.
pub(crate) trait FloatPanel<S: Simd>: Copy {
    /// What the left factor's rows consist of: one input, or a pair.
    type Value: Copy;
    type Vector: Copy;

    /// The weights of input (or pair) `k`.
    ///
    /// # Safety
    /// `k` is below the panel's inputs.
    unsafe fn load(self, s: S, k: usize) -> [Self::Vector; 2];

    /// The left factor's value in every lane.
    fn splat(s: S, x: Self::Value) -> Self::Vector;

    /// `x * weights + sum`.
    fn add_product(s: S, x: Self::Vector, weights: Self::Vector, sum: S::F) -> S::F;

    /// # Safety
    /// `to` is good for a vector.
    unsafe fn store(s: S, weights: Self::Vector, to: *mut Self::Value);

    /// See [`BlockWeights::block`].
    ///
    /// # Safety
    /// The panel has these inputs, at most [`BLOCK_DEPTH`].
    #[inline(always)]
    unsafe fn near(
        self,
        s: S,
        inputs: Range<usize>,
        copy: &mut PanelCopy,
    ) -> StridedPanel<Self::Value> {
        // SAFETY: says the caller.
        unsafe { copied_block(s, self, inputs, copy) }
    }
}

/// The part of [`FloatPanel`] that all panels have whose weights become f32.
macro_rules! multiplied_in_f32 {
    () => {
        type Value = f32;
        type Vector = S::F;

        #[inline(always)]
        fn splat(s: S, x: f32) -> S::F {
            s.splat(x)
        }

        #[inline(always)]
        fn add_product(s: S, x: S::F, weights: S::F, sum: S::F) -> S::F {
            s.fma(x, weights, sum)
        }

        #[inline(always)]
        unsafe fn store(s: S, weights: S::F, to: *mut f32) {
            // SAFETY: says the caller.
            unsafe { s.store(to, weights) }
        }
    };
}

/// Weights of which blocks can be brought near, for many rows.
pub(crate) trait BlockWeights: Sync {
    /// See [`FloatPanel::Value`].
    type Value: Multiplied;
    /// See [`Kernel::MULTIPLIES_BF16`](super::simd::Kernel::MULTIPLIES_BF16).
    const MULTIPLIES_BF16: bool = false;
    /// Whether panels lie near as they are multiplied: none is copied, and a block may be of any depth.
    const LIE_NEAR: bool = false;

    /// Inputs `inputs`, at most [`BLOCK_DEPTH`] unless [`Self::LIE_NEAR`], of outputs `2 * LANES * index ..`: as they lie, where
    /// they lie near one another as they are multiplied, otherwise in `copy`.
    ///
    /// # Safety
    /// There is such a panel, laid out for `S`, and it has these inputs.
    unsafe fn block<S: Simd>(
        &self,
        s: S,
        index: usize,
        inputs: Range<usize>,
        copy: &mut PanelCopy,
    ) -> StridedPanel<Self::Value>;
}

/// Weights in panels, which few rows read as they lie.
pub(crate) trait FloatWeights: Sync {
    /// See [`FloatPanel::Value`].
    type Value: Multiplied;
    type Panel<S: Simd>: FloatPanel<S, Value = Self::Value>;
    /// See [`BlockWeights::MULTIPLIES_BF16`].
    const MULTIPLIES_BF16: bool = false;
    /// See [`BlockWeights::LIE_NEAR`].
    const LIE_NEAR: bool = false;

    /// The panel of outputs `2 * LANES * index ..`.
    ///
    /// # Safety
    /// There is such a panel, laid out for `S`.
    unsafe fn panel<S: Simd>(&self, s: S, index: usize) -> Self::Panel<S>;
}

impl<W: FloatWeights> BlockWeights for W {
    type Value = W::Value;
    const MULTIPLIES_BF16: bool = W::MULTIPLIES_BF16;
    const LIE_NEAR: bool = W::LIE_NEAR;

    #[inline(always)]
    unsafe fn block<S: Simd>(
        &self,
        s: S,
        index: usize,
        inputs: Range<usize>,
        copy: &mut PanelCopy,
    ) -> StridedPanel<W::Value> {
        // SAFETY: there is such a panel with these inputs, says the caller.
        unsafe { self.panel(s, index).near(s, inputs, copy) }
    }
}

/// Inputs `inputs` of a panel as they are multiplied.
///
/// # Safety
/// The panel has these inputs, at most [`BLOCK_DEPTH`].
#[inline(always)]
pub(crate) unsafe fn copied_block<S: Simd, P: FloatPanel<S>>(
    s: S,
    panel: P,
    inputs: Range<usize>,
    copy: &mut PanelCopy,
) -> StridedPanel<P::Value> {
    debug_assert!(inputs.len() <= BLOCK_DEPTH && size_of::<P::Value>() == 4);
    let (width, values) = (2 * S::LANES, copy.start::<P::Value>());
    for (i, k) in inputs.enumerate() {
        // SAFETY: the panel has input `k`, says the caller; there is room for two vectors of each.
        unsafe {
            let to = values.add(i * width);
            let [low, high] = panel.load(s, k);
            P::store(s, low, to);
            P::store(s, high, to.add(S::LANES));
        }
    }
    copy.panel::<S, P::Value>()
}

/// Room for a block of a panel of any level.
#[repr(align(64))]
pub(crate) struct PanelCopy(MaybeUninit<[u32; BLOCK_DEPTH * TILE_WIDTH]>);

impl PanelCopy {
    pub(crate) fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// Good for a block of two vectors an input, of four bytes a value.
    pub(crate) fn start<X>(&mut self) -> *mut X {
        self.0.as_mut_ptr().cast()
    }

    /// The block, once it is written.
    pub(crate) fn panel<S: Simd, X>(&self) -> StridedPanel<X> {
        StridedPanel {
            values: self.0.as_ptr().cast(),
            stride: 2 * S::LANES,
        }
    }
}

/// bf16 or f16 weights, `[panels, in, 2 * LANES]`.
pub(crate) struct HalfWeights<'a, const BF16: bool> {
    pub(crate) values: &'a [u16],
    pub(crate) n_in: usize,
}

/// Rows of bf16 or f16, two vectors wide; `stride` values from one to the next.
#[derive(Clone, Copy)]
pub(crate) struct HalfPanel<const BF16: bool> {
    pub(crate) values: *const u16,
    pub(crate) stride: usize,
}

impl<const BF16: bool> FloatWeights for HalfWeights<'_, BF16> {
    type Value = f32;
    type Panel<S: Simd> = HalfPanel<BF16>;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> HalfPanel<BF16> {
        let stride = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        let values = unsafe { self.values.as_ptr().add(index * self.n_in * stride) };
        HalfPanel { values, stride }
    }
}

impl<S: Simd, const BF16: bool> FloatPanel<S> for HalfPanel<BF16> {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.values.add(k * self.stride);
            if BF16 {
                [s.load_bf16(row), s.load_bf16(row.add(S::LANES))]
            } else {
                [s.load_f16(row), s.load_f16(row.add(S::LANES))]
            }
        }
    }
}

/// Rows of signed bytes whose scales are applied elsewhere, two vectors wide; `stride` codes from
/// one to the next.
#[derive(Clone, Copy)]
pub(crate) struct CodePanel {
    pub(crate) codes: *const i8,
    pub(crate) stride: usize,
}

impl<S: Simd> FloatPanel<S> for CodePanel {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k * self.stride);
            [s.load_i8(row), s.load_i8(row.add(S::LANES))]
        }
    }
}

/// Signed bytes, `[panels, in, 2 * LANES]`, and a scale for each output.
pub(crate) struct Int8Weights<'a> {
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) n_in: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Int8Panel<F> {
    codes: *const i8,
    scales: [F; 2],
}

impl FloatWeights for Int8Weights<'_> {
    type Value = f32;
    type Panel<S: Simd> = Int8Panel<S::F>;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, s: S, index: usize) -> Int8Panel<S::F> {
        let width = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        unsafe {
            let scales = self.scales.as_ptr().add(index * width);
            Int8Panel {
                codes: self.codes.as_ptr().add(index * self.n_in * width),
                scales: [s.load(scales), s.load(scales.add(S::LANES))],
            }
        }
    }
}

impl<S: Simd> FloatPanel<S> for Int8Panel<S::F> {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k * 2 * S::LANES);
            [
                s.mul(s.load_i8(row), self.scales[0]),
                s.mul(s.load_i8(row.add(S::LANES)), self.scales[1]),
            ]
        }
    }
}

/// Codes of NF4 or FP4, `[panels, in / 2, 2 * LANES]` bytes with the even input in the low nibble, and
/// the blocks' scales, `[panels, in / 64, 2 * LANES]`.
pub(crate) struct Codebook4Weights<'a> {
    pub(crate) levels: &'static [f32; 16],
    pub(crate) codes: &'a [u8],
    pub(crate) scales: &'a [f32],
    pub(crate) n_in: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Codebook4Panel {
    levels: &'static [f32; 16],
    codes: *const u8,
    scales: *const f32,
}

impl FloatWeights for Codebook4Weights<'_> {
    type Value = f32;
    type Panel<S: Simd> = Codebook4Panel;

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, _: S, index: usize) -> Codebook4Panel {
        let width = 2 * S::LANES;
        // SAFETY: there is such a panel, says the caller.
        unsafe {
            Codebook4Panel {
                levels: self.levels,
                codes: self.codes.as_ptr().add(index * self.n_in / 2 * width),
                scales: self
                    .scales
                    .as_ptr()
                    .add(index * (self.n_in / NF4_BLOCK) * width),
            }
        }
    }
}

impl<S: Simd> FloatPanel<S> for Codebook4Panel {
    multiplied_in_f32!();

    #[inline(always)]
    unsafe fn load(self, s: S, k: usize) -> [S::F; 2] {
        let width = 2 * S::LANES;
        // SAFETY: the panel has a row `k`, says the caller.
        unsafe {
            let row = self.codes.add(k / 2 * width);
            let scales = self.scales.add(k / NF4_BLOCK * width);
            let codes = [s.load_u8(row), s.load_u8(row.add(S::LANES))];
            let table = self.levels;
            let values = if k.is_multiple_of(2) {
                [s.lookup_low(table, codes[0]), s.lookup_low(table, codes[1])]
            } else {
                [
                    s.lookup_high(table, codes[0]),
                    s.lookup_high(table, codes[1]),
                ]
            };
            [
                s.mul(values[0], s.load(scales)),
                s.mul(values[1], s.load(scales.add(S::LANES))),
            ]
        }
    }
}
