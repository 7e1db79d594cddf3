//! What can be wrong with a line of instruction data.

use super::InstructionFormat;

/// Everything that reading an instruction format can report; the file and line are the reader's to
/// add.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstructionError {
    /// A format that is not known.
    #[error("choose an instruction format: expected one of {expected}, found `{found}`")]
    UnknownFormat {
        /// The known ones.
        expected: String,
        /// What was asked for.
        found: String,
    },
    /// The fields of no format.
    #[error(
        "detect the instruction format: expected the fields `messages`, `conversations`, \
         `instruction` and `output`, `prompt` and `completion`, or `chosen` and `rejected`, found \
         {found} (hint: rename the fields)"
    )]
    NoFormat {
        /// The fields of the line.
        found: String,
    },
    /// The fields of several formats.
    #[error(
        "detect the instruction format: expected the fields of one, found those of {formats} in \
         {found} (hint: say which format it is)"
    )]
    ManyFormats {
        /// The formats.
        formats: String,
        /// The fields of the line.
        found: String,
    },
    /// A field that the format needs is not there, or null.
    #[error(
        "read a line of format `{format}`: expected a field `{field}`, found {found} (hint: is it \
         another format?)"
    )]
    MissingField {
        /// The format.
        format: InstructionFormat,
        /// The field, with its place in the line.
        field: String,
        /// The fields that are there.
        found: String,
    },
    /// A field holds something else.
    #[error(
        "read a line of format `{format}`: expected {expected} in `{field}`, found {found} (hint: \
         correct or remove the line)"
    )]
    WrongType {
        /// The format.
        format: InstructionFormat,
        /// The field, with its place in the line.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A speaker who is not known.
    #[error(
        "read a line of format `{format}`: expected `human`, `gpt` or `system` in `{field}`, found \
         `{found}` (hint: rename it; turns of tools cannot be learned from)"
    )]
    UnknownSpeaker {
        /// The format.
        format: InstructionFormat,
        /// The field, with its place in the line.
        field: String,
        /// Who is there.
        found: String,
    },
}
