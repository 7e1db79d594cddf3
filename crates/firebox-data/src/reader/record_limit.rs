//! A reader that refuses to read one record past a limit, so that memory stays bounded.

use std::fmt;
use std::io::{self, BufRead, Read};

/// Counts the bytes taken since the last [`reset`](Self::reset) and fails past the limit.
pub(super) struct RecordLimit<R> {
    inner: R,
    limit_bytes: u64,
    n_taken: u64,
}

/// The error inside the `io::Error` that a [`RecordLimit`] gives.
#[derive(Debug)]
struct PastLimit;

impl<R> RecordLimit<R> {
    pub(super) fn new(inner: R, limit_bytes: u64) -> Self {
        Self {
            inner,
            limit_bytes,
            n_taken: 0,
        }
    }

    /// A new record starts here.
    pub(super) fn reset(&mut self) {
        self.n_taken = 0;
    }

    /// The limit, in bytes.
    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }
}

/// Whether an error comes from a [`RecordLimit`], and not from the file.
pub(super) fn is_past_limit(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PastLimit>())
}

impl<R: BufRead> Read for RecordLimit<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n_read = available.len().min(out.len());
        out[..n_read].copy_from_slice(&available[..n_read]);
        self.consume(n_read);
        Ok(n_read)
    }
}

impl<R: BufRead> BufRead for RecordLimit<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let n_left = self.limit_bytes - self.n_taken;
        let buffer = self.inner.fill_buf()?;
        if n_left == 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, PastLimit));
        }
        let n_allowed = usize::try_from(n_left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        Ok(&buffer[..n_allowed])
    }

    fn consume(&mut self, n_bytes: usize) {
        self.n_taken += n_bytes as u64;
        self.inner.consume(n_bytes);
    }
}

impl fmt::Display for PastLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is larger than the limit")
    }
}

impl std::error::Error for PastLimit {}
