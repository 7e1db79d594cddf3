//! FP4 as bitsandbytes has it: a sign and three bits, whose values are not in the order of the codes.
//!
//! Two exponent bits and one of the mantissa, of a normalization of their own: in twelfths, the codes
//! 0 to 7 are 0, 1/16, 8, 12, 4, 6, 2, 3. Bit 3 is the sign, so that there are two zeros.
//!
//! Source: `bitsandbytes/functional.py`, `get_4bit_type("fp4")`.

/// The 16 values of FP4, by code.
pub const FP4_CODEBOOK: [f32; 16] = {
    const TWELFTHS: [f32; 8] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];
    let mut codebook = [0.0; 16];
    let mut code = 0;
    while code < 8 {
        codebook[code] = TWELFTHS[code] / 12.0;
        // The second zero has no sign in bitsandbytes' table.
        codebook[code + 8] = 0.0 - codebook[code];
        code += 1;
    }
    codebook
};

/// Its codes by ascending value. The zero without a sign comes first: it is what 0 becomes, while a
/// positive value too small for code 1 becomes the other.
pub(super) const ORDER: [u8; 16] = [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3];
