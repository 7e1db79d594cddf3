//! Documents as compressed JSON Lines, in pieces that can be sent.

use std::io::{self, Write};

use datafusion::error::Result;
use firebox_data::{Document, append_json_line};
use flate2::write::GzEncoder;

use crate::columns::TEXT;
use crate::read::external;
use crate::sink::OutputFormat;

/// A piece is handed on once it has this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Level of Zstandard: as the single machine's writer.
const ZSTD_LEVEL: i32 = 3;

/// Encodes documents, one line each.
pub(super) struct LineEncoder {
    line: Vec<u8>,
    compressor: Compressor,
}

enum Compressor {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl LineEncoder {
    pub(super) fn new(format: OutputFormat) -> io::Result<Self> {
        let compressor = match format {
            OutputFormat::JsonlGz => {
                Compressor::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            OutputFormat::JsonlZst => Compressor::Zstd(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            OutputFormat::Jsonl | OutputFormat::Parquet => Compressor::None(Vec::new()),
        };
        Ok(Self {
            line: Vec::new(),
            compressor,
        })
    }

    pub(super) fn push(&mut self, document: &Document<'_>) -> Result<()> {
        self.line.clear();
        append_json_line(document, TEXT, &mut self.line).map_err(external)?;
        match &mut self.compressor {
            Compressor::None(out) => out.extend_from_slice(&self.line),
            Compressor::Gzip(out) => out.write_all(&self.line)?,
            Compressor::Zstd(out) => out.write_all(&self.line)?,
        }
        Ok(())
    }

    /// What is encoded so far, once it is worth sending.
    pub(super) fn take_if_large(&mut self) -> Option<Vec<u8>> {
        let out = match &mut self.compressor {
            Compressor::None(out) => out,
            Compressor::Gzip(out) => out.get_mut(),
            Compressor::Zstd(out) => out.get_mut(),
        };
        (out.len() >= PIECE_BYTES).then(|| std::mem::take(out))
    }

    /// The rest.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self.compressor {
            Compressor::None(out) => Ok(out),
            Compressor::Gzip(out) => out.finish(),
            Compressor::Zstd(out) => out.finish(),
        }
    }
}
