//! What this machine's CPU can do, found out at run time.

use std::num::NonZero;

/// The widest vector instructions of this CPU that matter here: `avx512-vnni-bf16`,
/// `avx512-vnni`, `avx512`, `avx2-fma`, `neon` or `scalar`.
///
/// `vnni` multiplies bytes (quantized weights), `bf16` multiplies bfloat16 pairs.
///
/// # Examples
/// ```
/// let levels = ["avx512-vnni-bf16", "avx512-vnni", "avx512", "avx2-fma", "neon", "scalar"];
/// assert!(levels.contains(&firebox_tensor::cpu::simd_level()));
/// ```
pub fn simd_level() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    return x86_level();
    #[cfg(target_arch = "aarch64")]
    return if std::arch::is_aarch64_feature_detected!("neon") {
        "neon"
    } else {
        "scalar"
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    "scalar"
}

/// How many threads this process may run at once.
pub fn n_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(target_arch = "x86_64")]
fn x86_level() -> &'static str {
    let bf16 = has_avx512_bf16();
    let (avx512, vnni, avx2) = (has_avx512(), has_vnni(), has_avx2_fma());
    match (avx512, vnni, bf16, avx2) {
        (true, true, true, _) => "avx512-vnni-bf16",
        (true, true, false, _) => "avx512-vnni",
        (true, false, _, _) => "avx512",
        (false, _, _, true) => "avx2-fma",
        (false, _, _, false) => "scalar",
    }
}

/// AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2_fma() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// AVX-512 F, BW, DQ and VL.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// AVX-512's products of pairs of bf16.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512_bf16() -> bool {
    is_x86_feature_detected!("avx512bf16")
}

/// AVX-512's products of bytes.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512vnni")
}
