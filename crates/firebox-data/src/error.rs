//! What can go wrong between a file and a batch.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// An error of a library below this one that says what went wrong inside it.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Everything that reading, tokenizing, templating and batching can report.
///
/// Each text says what was expected, what was found and what to do; the cause, where there is
/// one, is the [`source`](std::error::Error::source).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A path, directory or glob leads to no file that can be read.
    #[error(
        "find data in `{pattern}`: expected a file, a directory or a glob with at least one \
         .jsonl, .csv, .tsv, .parquet, .xml or .txt file (all but Parquet may end in .gz or .zst), \
         found none (hint: check the path)"
    )]
    NoFiles {
        /// What was asked for.
        pattern: PathBuf,
    },
    /// A glob does not parse.
    #[error("read the glob `{pattern}` (hint: write `[[]` for a literal `[`)")]
    BadGlob {
        /// What was asked for.
        pattern: PathBuf,
        /// Where the glob breaks.
        #[source]
        source: glob::PatternError,
    },
    /// A file's name says nothing about its format.
    #[error(
        "choose a reader for `{path}`: expected a name ending in .jsonl, .csv, .tsv, .parquet, \
         .xml, .txt or .md, optionally followed by .gz or .zst (hint: rename the file)"
    )]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// A file or folder cannot be opened.
    #[error("open `{path}` (hint: does it exist, and may you read it?)")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Reading stopped in the middle of a file.
    #[error("read {place} (hint: a truncated download or .gz file? fetch it again)")]
    Read {
        /// Where reading stopped.
        place: Place,
        /// The system's or the decompressor's reason.
        #[source]
        source: io::Error,
    },
    /// One line or record is larger than the limit.
    #[error(
        "read {place}: expected at most {limit_bytes} bytes, found more (hint: split the record, \
         or raise `max_record_bytes`)"
    )]
    RecordTooLarge {
        /// Where the record starts.
        place: Place,
        /// The limit, from [`ReadOptions`](crate::ReadOptions).
        limit_bytes: u64,
    },
    /// A text is not UTF-8.
    #[error(
        "read {place}: expected UTF-8, found other bytes after {valid_bytes} good ones (hint: \
         convert the file, for instance with `iconv -t UTF-8`)"
    )]
    NotUtf8 {
        /// The line or record.
        place: Place,
        /// How many bytes of it are good.
        valid_bytes: usize,
    },
    /// A JSONL line does not parse, or a field has the wrong type.
    #[error(
        "parse {place}: expected one JSON object, {{\"text\": ..}} or {{\"messages\": \
         [{{\"role\": .., \"content\": ..}}]}} (hint: correct or remove the line)"
    )]
    Json {
        /// The line.
        place: Place,
        /// Where in the line, and why.
        #[source]
        source: serde_json::Error,
    },
    /// A JSONL line is JSON, but not a record.
    #[error(
        "parse {place}: expected {expected}, found {found} (hint: rename the fields, or remove \
         the line)"
    )]
    WrongFields {
        /// The line.
        place: Place,
        /// What a record needs.
        expected: String,
        /// The fields of this line.
        found: String,
    },
    /// The XML is not well-formed.
    #[error("parse {place}, byte {byte} (hint: is the file whole? fetch it again)")]
    Xml {
        /// The record.
        place: Place,
        /// Position in the decompressed file.
        byte: u64,
        /// What the parser found.
        #[source]
        source: Box<quick_xml::Error>,
    },
    /// The XML is well-formed, but not what MEDLINE files look like.
    #[error("parse {place}, byte {byte}: expected {expected}, found {found} (hint: {hint})")]
    XmlContent {
        /// The record.
        place: Place,
        /// Position in the decompressed file.
        byte: u64,
        /// What a MEDLINE file has there.
        expected: &'static str,
        /// What this one has.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A `tokenizer.json` cannot be used.
    #[error(
        "load the tokenizer `{origin}`: expected a Hugging Face tokenizer.json (hint: is the file \
         whole, and not a Git LFS pointer?)"
    )]
    LoadTokenizer {
        /// The file, or `memory`.
        origin: String,
        /// What the `tokenizers` crate says.
        #[source]
        source: Source,
    },
    /// A text cannot be encoded.
    #[error("encode a text of {n_bytes} bytes (hint: does the vocabulary lack an unknown token?)")]
    Encode {
        /// Length of the text.
        n_bytes: usize,
        /// What the `tokenizers` crate says.
        #[source]
        source: Source,
    },
    /// Training a tokenizer failed.
    #[error("train a byte-level BPE tokenizer (hint: are there at least a few texts?)")]
    TrainTokenizer {
        /// What the `tokenizers` crate says.
        #[source]
        source: Source,
    },
    /// A vocabulary too small to hold what it must.
    #[error(
        "train a byte-level BPE tokenizer: expected a vocabulary of at least {minimum} (256 bytes \
         and the special tokens), found {vocab_size} (hint: raise `vocab_size`)"
    )]
    VocabTooSmall {
        /// What was asked for.
        vocab_size: usize,
        /// The least that works.
        minimum: usize,
    },
    /// A chat template does not compile.
    #[error(
        "compile the chat template (hint: `chat_template` in tokenizer_config.json must be Jinja)"
    )]
    CompileTemplate {
        /// Where and why.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A chat template is unreasonably long.
    #[error(
        "compile the chat template: expected at most {limit_bytes} bytes, found {n_bytes} (hint: \
         is this a chat template?)"
    )]
    TemplateTooLarge {
        /// Length of the template.
        n_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// `tokenizer_config.json` holds a chat template in a form that is not known.
    #[error(
        "read `chat_template`: expected a string or a list with a template named `default`, found \
         {found} (hint: pass a template of your own)"
    )]
    NoDefaultTemplate {
        /// What is there.
        found: String,
    },
    /// A chat template stopped with an error.
    #[error(
        "render the chat template over {n_messages} messages (hint: roles must be those, and in \
         the order, that this model's template allows)"
    )]
    RenderTemplate {
        /// Length of the conversation.
        n_messages: usize,
        /// Where and why; `raise_exception` in the template ends up here.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// No thread could be started to render in.
    #[error(
        "render the chat template: expected a thread with stack for {fuel} steps, found none \
         (hint: is memory or address space limited? a shorter conversation needs less)"
    )]
    RenderThread {
        /// Steps that the rendering may take.
        fuel: u64,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A template writes earlier turns differently once later turns follow.
    #[error(
        "find the assistant's words in message {message}: expected the template to render a \
         conversation as the start of a longer one, found different text (hint: mark the words \
         with {{% generation %}} .. {{% endgeneration %}} in the template)"
    )]
    NotPrefixStable {
        /// Index of the assistant's message.
        message: usize,
    },
    /// A conversation without anything to learn from.
    #[error(
        "encode a conversation of {n_messages} messages: expected at least one with role \
         `assistant` that the template renders, found none (hint: loss is taken on the \
         assistant's turns only)"
    )]
    NoAssistantTurn {
        /// Length of the conversation.
        n_messages: usize,
    },
    /// A conversation came without a template to write it with.
    #[error(
        "encode a conversation: expected a chat template, found none (hint: use the model's, or \
         `ChatTemplate::chatml`)"
    )]
    NoTemplate,
    /// A size of zero.
    #[error("make batches: expected `{name}` of at least 1, found 0 (hint: set it in the config)")]
    ZeroSize {
        /// The setting.
        name: &'static str,
    },
    /// Nothing is left to make a batch from.
    #[error(
        "make batches: expected at least one {unit}, found none in {n_inputs} inputs of {n_tokens} \
         tokens (hint: is the data empty, too short, or selected away?)"
    )]
    NoBatches {
        /// `block of N tokens`, or `example with loss`.
        unit: String,
        /// Documents or examples given.
        n_inputs: usize,
        /// Tokens given.
        n_tokens: usize,
    },
}

/// A place in a data file, as error messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// What is counted.
    pub unit: PlaceUnit,
    /// Its number, from 1.
    pub number: u64,
}

/// What a [`Place`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceUnit {
    /// Lines of a JSONL file.
    Line,
    /// Records of an XML file, or the one record of a text file.
    Record,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            PlaceUnit::Line => "line",
            PlaceUnit::Record => "record",
        };
        write!(f, "`{}`, {unit} {}", self.path.display(), self.number)
    }
}
