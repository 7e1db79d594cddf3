//! Which instruction set the kernels use.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

#[cfg(target_arch = "x86_64")]
use crate::cpu;

/// An instruction set that the kernels are compiled for, slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// Arrays that the compiler turns into whatever the target always has (SSE2, NEON).
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with BF16.
    Avx512Bf16,
    /// The same with AMX, whose tiles multiply bf16, on Linux.
    Amx,
}

/// The level that [`SimdLevel::force`] asked for, as a number one higher; 0 for the best.
static FORCED: AtomicU8 = AtomicU8::new(0);

/// Held by tests that force a level, and by those that compare bits of two calls, which a level
/// forced in between would change.
#[cfg(test)]
pub(crate) fn test_turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl SimdLevel {
    /// All levels, slowest first.
    pub const ALL: [Self; 5] = [
        Self::Portable,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Bf16,
        Self::Amx,
    ];

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => cpu::has_avx2_fma() && is_x86_feature_detected!("f16c"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Self::Avx2.is_available() && cpu::has_avx512() && cpu::has_vnni(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512.is_available() && cpu::has_avx512_bf16(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Bf16.is_available() && super::amx::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The levels of this CPU, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|l| l.is_available()).collect()
    }

    /// The level in use: the forced one, or else the fastest.
    pub fn current() -> Self {
        match FORCED.load(Ordering::Relaxed) {
            0 => Self::best(),
            n => Self::ALL[usize::from(n) - 1],
        }
    }

    fn best() -> Self {
        let mut levels = Self::ALL.into_iter().rev();
        levels
            .find(|level| level.is_available())
            .unwrap_or(Self::Portable)
    }

    /// Makes the whole process use this level from now on. Weights that are laid out already keep
    /// theirs.
    ///
    /// # Errors
    /// When this CPU does not have it.
    pub fn force(self) -> Result<(), UnknownSimdLevel> {
        if !self.is_available() {
            return Err(UnknownSimdLevel {
                found: self.to_string(),
            });
        }
        FORCED.store(self as u8 + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for SimdLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SimdLevel {
    type Err = UnknownSimdLevel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let level = Self::ALL.into_iter().find(|level| level.name() == name);
        level
            .filter(|level| level.is_available())
            .ok_or_else(|| UnknownSimdLevel {
                found: name.to_owned(),
            })
    }
}

/// A name that is no [`SimdLevel`], or one that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "instruction set `{found}`: expected one of this CPU's, {}",
    SimdLevel::available().iter().map(|level| format!("`{level}`")).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownSimdLevel {
    /// The name that was given.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_a_list() {
        for level in SimdLevel::available() {
            assert_eq!(level.name().parse(), Ok(level));
        }
        let error = "sse9".parse::<SimdLevel>().unwrap_err().to_string();
        assert!(
            error.contains("`sse9`") && error.contains("`portable`"),
            "{error}"
        );
    }

    #[test]
    fn the_level_in_use_is_one_of_this_cpu() {
        assert!(SimdLevel::current().is_available());
    }
}
