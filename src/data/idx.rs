//! The IDX file format of the MNIST family, raw or compressed with gzip.
//!
//! An IDX file consists of a magic number (two zero bytes, the element type, the number of
//! dimensions), the sizes of the dimensions as big-endian 32-bit integers, and the elements, with
//! the last dimension varying fastest. In the MNIST family, and here, elements are unsigned bytes.

use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::gzip::{self, corrupt};
use super::{ByteImages, Examples};
use crate::error::{At, Error, Result};
use crate::files::write_atomically;

/// An array read from an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The sizes of the dimensions.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<u8>,
}

const UNSIGNED_BYTE: u8 = 0x08;

/// Maximum uncompressed size in bytes; a header that claims more is corrupt.
const MAX_LEN: u64 = 1 << 34;

/// Reads an IDX file of unsigned bytes, raw or compressed; its content tells. A pipe passed by a
/// shell is read like a file; see [`Table`](super::Table).
///
/// Memory use grows with the actual content, not with what the header claims, and never exceeds
/// that claim.
///
/// # Errors
/// If the file cannot be read, is not an IDX file of unsigned bytes, or has fewer or more elements
/// than its header says. The message names the file.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    parse(gzip::open(path)?, path)
}

/// Reads images from an IDX file with three dimensions (count, height, width) or four (count,
/// height, width, channels).
///
/// # Errors
/// As [`read`]; also if the number of dimensions is different or the file has no images.
pub fn read_images(path: impl AsRef<Path>) -> Result<ByteImages> {
    let path = path.as_ref();
    let Idx { shape, data } = read(path)?;
    let shape = match shape[..] {
        [_, height, width] => [height, width, 1],
        [_, height, width, channels] => [height, width, channels],
        _ => {
            return Err(Error::data(
                path,
                format!(
                    "images have 3 dimensions (count, height, width), or a fourth for channels, \
                     not {shape:?}"
                ),
            ));
        }
    };
    let images = ByteImages::new(data, shape).map_err(|error| Error::data(path, error))?;
    if images.is_empty() {
        return Err(Error::data(path, "the file holds no image"));
    }
    Ok(images)
}

/// Reads labels, one byte each, from an IDX file with one dimension.
///
/// # Errors
/// As [`read`]; also if the file has more than one dimension.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let Idx { shape, data } = read(path)?;
    if shape.len() != 1 {
        return Err(Error::data(path, format!("labels have 1 dimension (count), not {shape:?}")));
    }
    Ok(data)
}

/// Writes images as an IDX file with four dimensions, or three if there is one channel.
///
/// The file is compressed with gzip if its name ends in `.gz`. An existing file is replaced only
/// once everything is written.
///
/// # Errors
/// If there are no images, if a dimension does not fit the format's 32 bits, or if the file cannot
/// be written.
pub fn write_images(path: impl AsRef<Path>, images: &ByteImages) -> Result<()> {
    let path = path.as_ref();
    if images.is_empty() {
        return Err(Error::data(path, "there are no images to write"));
    }
    let [height, width, channels] = images.shape();
    let mut shape = vec![images.len(), height, width, channels];
    if channels == 1 {
        shape.pop();
    }
    let mut content = vec![0, 0, UNSIGNED_BYTE, shape.len() as u8];
    for size in &shape {
        let size = u32::try_from(*size);
        let size = size
            .map_err(|_| Error::data(path, format!("shape {shape:?} does not fit an IDX file")))?;
        content.extend(size.to_be_bytes());
    }
    content.extend(images.pixels());
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        content = encoder.write_all(&content).and_then(|()| encoder.finish()).at(path)?;
    }
    write_atomically(path, &content)
}

fn parse(mut input: impl Read, path: &Path) -> Result<Idx> {
    let magic = bytes::<4>(&mut input, path, "the magic number")?;
    let [0, 0, element_type, rank] = magic else {
        return Err(Error::data(
            path,
            format!("not an IDX file: it starts with {magic:02x?}, not with two zero bytes"),
        ));
    };
    if element_type != UNSIGNED_BYTE {
        return Err(Error::data(
            path,
            format!("elements have type {element_type:#04x}, but only bytes (0x08) are supported"),
        ));
    }
    if rank == 0 {
        return Err(Error::data(path, "the array has no dimensions"));
    }
    let mut shape = Vec::new();
    for i in 1..=rank {
        let size = bytes(&mut input, path, &format!("the size of dimension {i} of {rank}"))?;
        shape.push(u32::from_be_bytes(size) as usize);
    }
    let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
    let Some(len) = len.filter(|&len| len as u64 <= MAX_LEN) else {
        return Err(Error::data(path, format!("the header claims an absurd shape, {shape:?}")));
    };
    let mut data = Vec::new();
    (&mut input).take(len as u64).read_to_end(&mut data).map_err(|e| corrupt(path, e))?;
    if data.len() < len {
        return Err(Error::data(
            path,
            format!(
                "truncated: the header promises {len} bytes for shape {shape:?}, but only {} follow",
                data.len()
            ),
        ));
    }
    match input.read(&mut [0]).map_err(|e| corrupt(path, e))? {
        0 => Ok(Idx { shape, data }),
        _ => Err(Error::data(
            path,
            format!("more bytes follow the {len} that the header promises for shape {shape:?}"),
        )),
    }
}

fn bytes<const N: usize>(input: &mut impl Read, path: &Path, what: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::data(path, format!("truncated: the file ends within {what}"))
        }
        _ => corrupt(path, error),
    })?;
    Ok(bytes)
}
