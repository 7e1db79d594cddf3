//! One vocabulary of vector operations, spoken by every instruction set.
//!
//! A kernel is a [`Kernel`]: a value whose `run` is generic over [`Simd`]. [`dispatch`] enters the
//! function that is compiled for the level's instructions; everything below it is inlined there.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::bf16_dot::bf16_bits;
use super::level::SimdLevel;

/// Vectors of `LANES` f32, of as many i32, and of four times as many bytes.
///
/// A value of the type is the proof that the CPU has the instructions: it is made only by
/// [`dispatch`]. Memory is reached through pointers, whose methods are unsafe: the pointer must be
/// good for the number of elements that the method names; no alignment is needed.
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
pub(crate) trait Simd: Copy + Send + Sync {
    /// f32 lanes.
    type F: Copy;
    /// i32 lanes.
    type I: Copy;
    /// Bytes, four to an i32 lane.
    type B: Copy;

    /// Lanes of an f32 vector.
    const LANES: usize;
    /// Rows of a float tile of two vectors a row: as many as the registers hold.
    const FLOAT_ROWS: usize;
    /// Rows of an integer tile.
    const INT_ROWS: usize;
    /// Added to signed bytes when they are laid out as weights for [`Simd::dot4`].
    const BYTE_BIAS: u8;

    fn splat(self, x: f32) -> Self::F;
    /// Reads `LANES` f32.
    unsafe fn load(self, from: *const f32) -> Self::F;
    /// Writes `LANES` f32.
    unsafe fn store(self, to: *mut f32, v: Self::F);
    /// Reads `LANES` bf16.
    unsafe fn load_bf16(self, from: *const u16) -> Self::F;
    /// Reads `LANES` f16.
    unsafe fn load_f16(self, from: *const u16) -> Self::F;
    /// Reads `LANES` signed bytes.
    unsafe fn load_i8(self, from: *const i8) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// The larger; `b` where one of the two is no number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; `b` where one of the two is no number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the instructions do (not [`SimdLevel::Portable`]).
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The sum of all lanes, halves added to halves.
    fn reduce_add(self, v: Self::F) -> f32;
    /// The largest lane.
    fn reduce_max(self, v: Self::F) -> f32;

    /// Rounds to the nearest integer, ties to even; needs `|x| < 2^22`.
    fn round(self, x: Self::F) -> Self::I;
    fn to_float(self, x: Self::I) -> Self::F;
    /// `2^x`, for `-126 <= x <= 127`.
    fn exp2_int(self, x: Self::I) -> Self::F;
    fn int_splat(self, x: i32) -> Self::I;
    /// `count`, and one more where `x` is above `threshold`.
    fn count_above(self, count: Self::I, x: Self::F, threshold: f32) -> Self::I;
    /// Reads `LANES` integers.
    unsafe fn load_int(self, from: *const u32) -> Self::I;
    /// Writes `LANES` integers.
    unsafe fn store_int(self, to: *mut u32, x: Self::I);
    /// Writes `LANES` integers between -128 and 127 as bytes.
    unsafe fn store_i8(self, to: *mut i8, x: Self::I);
    /// Turns `LANES` numbers of each of `n_rows` rows, `stride` apart, into `LANES` vectors, `to_stride`
    /// apart; lanes that have no row may be written, too. Vectors may lie over one another: later ones win.
    unsafe fn turn(
        self,
        from: *const f32,
        stride: usize,
        n_rows: usize,
        to: *mut f32,
        to_stride: usize,
    );
    /// `x >> n` of every lane, zeros from above.
    fn shift_right(self, x: Self::I, n: u32) -> Self::I;
    /// The pair of bf16 that the low four bits of both halves of a lane name.
    fn lookup_bf16(self, table: &Bf16Table, x: Self::I) -> Self::I;
    /// Adds to each lane the two products of its pair of bf16 with `x`'s.
    fn dot2_bf16(self, sum: Self::F, weights: Self::I, x: Self::I) -> Self::F;
    /// Reads `LANES` bytes as unsigned integers.
    unsafe fn load_u8(self, from: *const u8) -> Self::I;
    /// `table[x & 15]`.
    fn lookup_low(self, table: &[f32; 16], x: Self::I) -> Self::F;
    /// `table[x >> 4]`, for `x < 256`.
    fn lookup_high(self, table: &[f32; 16], x: Self::I) -> Self::F;

    /// Reads `4 * LANES` bytes.
    unsafe fn load_bytes(self, from: *const u8) -> Self::B;
    /// `x & 15` of every byte.
    fn low_nibbles(self, x: Self::B) -> Self::B;
    /// `x >> 4` of every byte.
    fn high_nibbles(self, x: Self::B) -> Self::B;
    /// `codes | (x << left) & mask` of every byte, `>>` where `left` is negative; the mask takes none
    /// of the bits that neighbouring bytes shift in.
    fn or_shifted(self, codes: Self::B, x: Self::B, left: i32, mask: u8) -> Self::B;
    /// Adds to each lane the dot product of its four bytes, signed and laid out with
    /// [`Simd::BYTE_BIAS`], with the four signed bytes of `x` (none of them -128). The bias is the
    /// caller's to take off.
    fn dot4(self, sum: Self::I, weights: Self::B, x: i32) -> Self::I;
    /// The same for weights from 0 to 127, without a bias.
    fn dot4_unsigned(self, sum: Self::I, weights: Self::B, x: i32) -> Self::I;
}

/// Sixteen values rounded to bf16.
pub(crate) struct Bf16Table {
    /// All of them, twice.
    halves: [u16; 32],
    /// As f32.
    floats: [f32; 16],
}

impl Bf16Table {
    pub(crate) const fn new(values: &[f32; 16]) -> Self {
        let (mut halves, mut floats) = ([0; 32], [0.0; 16]);
        let mut i = 0;
        while i < 16 {
            let bits = bf16_bits(values[i]);
            halves[i] = bits as u16;
            halves[i + 16] = bits as u16;
            floats[i] = f32::from_bits(bits << 16);
            i += 1;
        }
        Self { halves, floats }
    }
}

/// Work that is compiled for each level.
pub(crate) trait Kernel {
    type Output;
    /// Whether it is worth compiling apart for AVX-512 BF16.
    const MULTIPLIES_BF16: bool = false;

    /// To be marked `#[inline(always)]`, so that it is compiled inside the level's function.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs a kernel with the level's instructions.
///
/// # Panics
/// When the CPU does not have them.
#[expect(
    unsafe_code,
    reason = "functions with target features are unsafe to call"
)]
pub(crate) fn dispatch<K: Kernel>(level: SimdLevel, kernel: K) -> K::Output {
    assert!(level.is_available(), "this CPU has no {level}");
    match level {
        SimdLevel::Portable => kernel.run(portable::Portable::new()),
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2 => unsafe { avx2::run(kernel) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512 => unsafe { avx512::run(kernel) },
        // SAFETY: the level is available.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512Bf16 | SimdLevel::Amx if K::MULTIPLIES_BF16 => unsafe {
            avx512::run_bf16(kernel)
        },
        // SAFETY: the level is available, and has all that AVX-512 has.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512Bf16 | SimdLevel::Amx => unsafe { avx512::run(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("not available on this architecture"),
    }
}

/// Methods that are one expression of instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! instructions {
    ($(fn $name:ident($($arg:ident: $kind:ty),*) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $kind),*) -> $out {
            // SAFETY: a value of the type exists only where the CPU has the instructions.
            unsafe { $body }
        }
    )*};
}

/// Methods that reach memory.
#[cfg(target_arch = "x86_64")]
macro_rules! loads {
    ($(fn $name:ident($from:ident: $kind:ty) -> $out:ty = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $from: $kind) -> $out {
            // SAFETY: the CPU has the instructions, and the pointer is good for the vector, says
            // the caller.
            unsafe { $body }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
use {instructions, loads};
