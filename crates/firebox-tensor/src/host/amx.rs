//! Tiles: AMX, where the CPU has it and the system gives it.
//!
//! Source: Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18.

#![expect(unsafe_code, reason = "the system is asked for registers")]

mod pairs;

use std::arch::asm;
use std::sync::LazyLock;

pub(crate) use pairs::pair_product;

/// Rows of a tile, at most.
const ROWS: usize = 16;

/// Whether the CPU has tiles of bf16 and bytes, and the system lets this process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| has_tiles() && is_permitted());
    *AVAILABLE
}

/// Of the CPU, and of the system: it saves the tiles when it changes threads.
fn has_tiles() -> bool {
    const TILES: u32 = 1 << 22 | 1 << 24 | 1 << 25; // bf16, tiles, bytes
    const SAVED: u64 = 1 << 17 | 1 << 18; // configuration, data
    if !is_x86_feature_detected!("xsave") || std::arch::x86_64::__cpuid(0).eax < 7 {
        return false;
    }
    let (low, high): (u32, u32);
    // SAFETY: `xgetbv` of register 0 exists where `xsave` is.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    let saved = u64::from(high) << 32 | u64::from(low);
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    features & TILES == TILES && saved & SAVED == SAVED
}

/// Linux gives tile registers to processes that ask.
fn is_permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: the call changes nothing but what registers the process may use.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    cfg!(target_os = "linux") && result == 0
}

/// Rows and bytes a row of each tile, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    n_rows: [u8; 16],
}

impl TileConfig {
    /// Tiles of so many rows of so many bytes; one without rows is not to be touched.
    fn new(tiles: [[usize; 2]; 8]) -> Self {
        let mut config = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            n_rows: [0; 16],
        };
        for (tile, [n_rows, n_bytes]) in tiles.into_iter().enumerate() {
            if n_rows > 0 {
                (config.n_rows[tile], config.row_bytes[tile]) = (n_rows as u8, n_bytes as u16);
            }
        }
        config
    }

    /// Lays the tiles out, whose contents are lost.
    fn load(&self) {
        // SAFETY: whoever makes one has checked that the level has tiles; the layout is one that they
        // take.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, readonly)) };
    }
}

/// Gives the tiles back: threads are changed faster without their contents.
fn release() {
    // SAFETY: as in `TileConfig::load`.
    unsafe { asm!("tilerelease", options(nomem, nostack)) };
}
