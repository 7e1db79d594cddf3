//! What can go wrong when packing a weight or taking one from a file.

use crate::packed::PackedFormat;

/// A weight that cannot be packed, or stored parts that do not make a packed weight.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The slice and the stated shape disagree.
    #[error("pack weight: expected {n_rows} x {n_cols} = {expected} values, found {found}")]
    WeightLength {
        /// Rows (`out`).
        n_rows: usize,
        /// Columns (`in`).
        n_cols: usize,
        /// `n_rows * n_cols`.
        expected: usize,
        /// Length of the slice.
        found: usize,
    },
    /// The number of elements, or of bytes, does not fit in memory addresses.
    #[error("packed weight of shape [{n_rows}, {n_cols}] has more elements than can be addressed")]
    TooManyElements {
        /// Rows (`out`).
        n_rows: usize,
        /// Columns (`in`).
        n_cols: usize,
    },
    /// A weight is NaN or infinite.
    #[error(
        "pack weight: expected finite values, found {value} at row {row}, column {column} \
         (hint: did the training that made it diverge?)"
    )]
    NonFinite {
        /// Row of the first such element.
        row: usize,
        /// Column of the first such element.
        column: usize,
        /// The value itself.
        value: f32,
    },
    /// A weight is too large for the scale type of the format.
    #[error(
        "pack weight as `{format}`: expected absolute values up to {limit}, found {value} at row \
         {row}, column {column} (hint: `nf4` takes any finite value)"
    )]
    TooLarge {
        /// The format asked for.
        format: PackedFormat,
        /// Largest absolute value that the format can hold.
        limit: f32,
        /// Row of the first such element.
        row: usize,
        /// Column of the first such element.
        column: usize,
        /// The value itself.
        value: f32,
    },
    /// A row does not divide into whole blocks.
    #[error(
        "pack weight as `{format}`: expected a multiple of {block_size} columns, found {n_cols} \
         (hint: `nf4` and `int8` take any number)"
    )]
    RowNotWholeBlocks {
        /// The format asked for.
        format: PackedFormat,
        /// Columns (`in`).
        n_cols: usize,
        /// Block size of the format.
        block_size: usize,
    },
    /// A part of the stored weight is absent.
    #[error("read packed weight `{format}`: part `{part}` is missing")]
    MissingPart {
        /// The format asked for.
        format: PackedFormat,
        /// Name of the part, as in [`crate::packed::PackedPart::name`].
        part: &'static str,
    },
    /// A part of the stored weight has the wrong length.
    #[error(
        "read packed weight `{format}` of shape [{n_rows}, {n_cols}]: expected {expected} bytes \
         in part `{part}`, found {found}"
    )]
    PartLength {
        /// The format asked for.
        format: PackedFormat,
        /// Name of the part.
        part: &'static str,
        /// Rows (`out`).
        n_rows: usize,
        /// Columns (`in`).
        n_cols: usize,
        /// Bytes that the shape calls for.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// A stored scale is NaN or infinite.
    #[error(
        "read packed weight `{format}`: expected finite scales, found {value} at index {index} of \
         part `{part}` (hint: the file is damaged)"
    )]
    NonFiniteScale {
        /// The format asked for.
        format: PackedFormat,
        /// Name of the part.
        part: &'static str,
        /// Index in the part.
        index: usize,
        /// The value itself.
        value: f32,
    },
}
