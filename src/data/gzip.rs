//! Files that may be compressed with gzip; their content tells.

use flate2::read::MultiGzDecoder;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{At, Error, Result};
use crate::files;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file, or a pipe passed by a shell, for reading; gzip is decompressed.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let mut file = BufReader::new(files::open_stream(path)?);
    let mut magic = Vec::new();
    (&mut file).take(2).read_to_end(&mut magic).at(path)?;
    let compressed = is_magic(&magic);
    let whole = std::io::Cursor::new(magic).chain(file);
    Ok(if compressed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

/// Whether the first bytes of a file are those of gzip.
pub(super) fn is_magic(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Reports errors of the decompressor as bad data instead of input/output errors.
pub(super) fn corrupt(path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => Error::data(path, "truncated: the gzip stream ends too early"),
        InvalidData | InvalidInput => {
            Error::data(path, format!("damaged gzip stream: {error}")).with_source(error)
        }
        _ => Error::io(path, error),
    }
}
