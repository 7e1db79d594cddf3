//! Cuts a stream into pieces of about one size that end where records do.

use std::io::{self, ErrorKind, Read};

use super::boundary::Boundary;
use super::buffer::{Buffer, BufferPool};

/// Cuts a stream at record boundaries.
///
/// Where it cuts depends on the bytes and the sizes alone, not on how the reads come. It holds at
/// most one record and one block: what is larger than a record may be is passed over.
pub(crate) struct Cutter<R> {
    input: R,
    boundary: Boundary,
    sizes: Sizes,
    pool: BufferPool,
    /// Bytes read but not yet given.
    buffer: Buffer,
    /// How many of them were searched for boundaries.
    n_scanned: usize,
    /// Position in the stream of the buffer's first byte.
    offset: u64,
    /// Number of the next record, from 1.
    number: u64,
    state: State,
}

/// How large pieces and records are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// About how large a piece is.
    pub(crate) block_bytes: usize,
    /// Largest record.
    pub(crate) max_record_bytes: u64,
}

enum State {
    Start,
    Reading,
    /// The stream broke off; what came before is given first.
    Broken(io::Error),
    /// The stream has ended; the last piece was not given yet.
    Ended,
    Done,
}

/// A piece of a stream.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Whole records; none if one was too large to be held.
    pub(crate) bytes: Option<Buffer>,
    /// Position of the first byte in the stream.
    pub(crate) offset: u64,
    /// Number of the first record, from 1: a line in JSONL and CSV.
    pub(crate) number: u64,
    /// Whether the stream ends with it.
    pub(crate) is_last: bool,
}

impl<R: Read> Cutter<R> {
    pub(crate) fn new(input: R, boundary: Boundary, sizes: Sizes, pool: &BufferPool) -> Self {
        Self {
            input,
            boundary,
            sizes: Sizes {
                block_bytes: sizes.block_bytes.max(1),
                ..sizes
            },
            pool: pool.clone(),
            buffer: pool.take(),
            n_scanned: 0,
            offset: 0,
            number: 1,
            state: State::Start,
        }
    }

    /// The number of the record that comes next, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next piece. After an error comes nothing more.
    pub(crate) fn next(&mut self) -> Option<io::Result<Cut>> {
        let mut goal = self.sizes.block_bytes;
        loop {
            match std::mem::replace(&mut self.state, State::Reading) {
                State::Done => {
                    self.state = State::Done;
                    return None;
                }
                State::Broken(error) if self.n_scanned == self.buffer.len() => {
                    self.state = State::Done;
                    return Some(Err(error));
                }
                State::Broken(error) => self.state = State::Broken(error),
                State::Ended => return self.finish().map(Ok),
                State::Start => self.start(goal),
                State::Reading => self.fill(goal),
            }
            let last = self.boundary.scan(&self.buffer, self.n_scanned).last;
            self.n_scanned = self.buffer.len();
            let is_ended = matches!(self.state, State::Ended);
            if let Some(end) = last.filter(|_| !is_ended) {
                return Some(Ok(self.cut(end)));
            }
            if !is_ended && self.buffer.len() as u64 > self.sizes.max_record_bytes {
                return Some(Ok(self.pass_over()));
            }
            goal = self.buffer.len() + self.sizes.block_bytes;
        }
    }

    /// The first read; a byte order mark is not part of a record.
    fn start(&mut self, goal: usize) {
        self.fill(goal.max(3));
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drop_front(3);
            self.offset = 3;
        }
    }

    /// Reads until the buffer holds `goal` bytes, or the stream is at its end.
    fn fill(&mut self, goal: usize) {
        while self.buffer.len() < goal {
            match self.input.read(self.buffer.room(goal)) {
                Ok(0) => {
                    self.state = State::Ended;
                    return;
                }
                Ok(n_read) => self.buffer.filled(n_read),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state = State::Broken(error);
                    return;
                }
            }
        }
    }

    /// Gives the bytes before `end`, and keeps the others.
    fn cut(&mut self, end: usize) -> Cut {
        let mut rest = self.pool.take();
        rest.append(&self.buffer[end..]);
        self.n_scanned -= end;
        self.buffer.truncate(end);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let place = self.describe(None);
        self.offset += bytes.len() as u64;
        self.number += self.boundary.count(&bytes);
        Cut {
            bytes: Some(bytes),
            ..place
        }
    }

    /// The stream has ended: what is left is the last piece.
    fn finish(&mut self) -> Option<Cut> {
        self.state = State::Done;
        let bytes = std::mem::replace(&mut self.buffer, self.pool.take());
        let is_needed = match self.boundary {
            // The end of a MEDLINE file must be looked at, and an empty text is a text.
            Boundary::Citation | Boundary::File => true,
            Boundary::Line | Boundary::Csv(_) => !bytes.is_empty(),
        };
        let place = self.describe(Some(bytes));
        is_needed.then_some(Cut {
            is_last: true,
            ..place
        })
    }

    /// Throws the buffer away, and what follows up to the next boundary.
    fn pass_over(&mut self) -> Cut {
        let place = self.describe(None);
        let overlap = self.boundary.overlap();
        let mut is_found = false;
        while !is_found {
            let n_gone = self.buffer.len().saturating_sub(overlap);
            if !matches!(self.boundary, Boundary::Citation) {
                // Lines are counted as they go: a broken CSV record may have many.
                self.number += self.boundary.count(&self.buffer[..n_gone]);
            }
            self.drop_front(n_gone);
            self.buffer.shrink_to(self.sizes.block_bytes);
            self.n_scanned = self.buffer.len();
            if !matches!(self.state, State::Reading) {
                break;
            }
            self.fill(self.sizes.block_bytes.max(2 * overlap));
            if let Some(end) = self.boundary.scan(&self.buffer, self.n_scanned).first {
                self.number += self.boundary.count(&self.buffer[..end]);
                self.drop_front(end);
                self.boundary.restart();
                is_found = true;
            }
        }
        if is_found {
            self.n_scanned = 0;
        } else if matches!(self.state, State::Ended) {
            self.state = State::Done;
        }
        place
    }

    fn drop_front(&mut self, n_bytes: usize) {
        self.offset += n_bytes as u64;
        self.buffer.drop_front(n_bytes);
    }

    fn describe(&self, bytes: Option<Buffer>) -> Cut {
        Cut {
            bytes,
            offset: self.offset,
            number: self.number,
            is_last: false,
        }
    }
}

#[cfg(test)]
mod tests;
