//! A file or standard input as a stream of decompressed bytes.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::{Compression, SourceError};

/// Size of the reads from a compressed file.
const READ_BYTES: usize = 1 << 18;

/// Decompressed bytes, from anywhere.
pub(super) type Input = Box<dyn Read + Send>;

/// Counts the bytes that pass, as they are on disk.
struct Counted<R> {
    inner: R,
    n_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(out)?;
        self.n_bytes.fetch_add(n_read as u64, Ordering::Relaxed);
        Ok(n_read)
    }
}

/// Opens a file whose compression its name says.
pub(super) fn open_file(
    path: &Path,
    compression: Compression,
    n_bytes: &Arc<AtomicU64>,
) -> Result<Input, SourceError> {
    let open_error = |source| SourceError::Open {
        path: path.to_path_buf(),
        source,
    };
    let inner = File::open(path).map_err(open_error)?;
    let n_bytes = Arc::clone(n_bytes);
    decompress(Counted { inner, n_bytes }, compression).map_err(open_error)
}

/// Takes a stream whose compression its first bytes say.
pub(super) fn open_stream(
    inner: impl Read + Send + 'static,
    n_bytes: &Arc<AtomicU64>,
) -> io::Result<Input> {
    let n_bytes = Arc::clone(n_bytes);
    let (compression, inner) = sniff(Counted { inner, n_bytes })?;
    decompress(inner, compression)
}

/// A stream whose first bytes were looked at.
type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Looks at the first bytes and puts them back.
fn sniff<R: Read>(mut inner: R) -> io::Result<(Compression, Sniffed<R>)> {
    let mut first = Vec::with_capacity(Compression::N_MAGIC_BYTES);
    inner
        .by_ref()
        .take(Compression::N_MAGIC_BYTES as u64)
        .read_to_end(&mut first)?;
    Ok((
        Compression::from_magic(&first),
        Cursor::new(first).chain(inner),
    ))
}

fn decompress(inner: impl Read + Send + 'static, compression: Compression) -> io::Result<Input> {
    let buffered = |inner| BufReader::with_capacity(READ_BYTES, inner);
    Ok(match compression {
        Compression::None => Box::new(inner),
        Compression::Gzip => Box::new(MultiGzDecoder::new(buffered(inner))),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(inner))?),
    })
}
