//! Decodes image files.

use std::io::{BufRead, BufReader, Read, Result as IoResult, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::error::{At, Error, Result};
use crate::files;

/// Maximum height and width of an image. A larger one is a mistake or meant to exhaust the memory.
pub(super) const MAX_SIDE: u32 = 1 << 15;
pub(super) const MAX_BYTES: u64 = 1 << 29;
/// Maximum size of a file in bytes; no image within the limits above needs more, even as plain
/// text.
const MAX_FILE: u64 = 1 << 31;

const SUPPORTED: &str = "PNG, JPEG, BMP, GIF, PNM and WebP are";
const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Pnm,
    ImageFormat::WebP,
];

/// Extensions of the supported formats.
const READ: [&str; 18] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jif", "jfif", "pjpeg", "pjp", "bmp", "dib", "gif", "pbm",
    "pgm", "ppm", "pnm", "pam", "webp",
];

/// Extensions of unsupported image formats. A folder with such files is refused rather than read in
/// part. The last rows are raw formats of cameras.
#[rustfmt::skip]
const NOT_READ: [&str; 84] = [
    "tif", "tiff", "heic", "heif", "heics", "heifs", "hif", "avif", "avifs", "jxl", "jp2", "j2k", "j2c", "jpc",
    "jpf", "jpx", "jpm", "jxr", "wdp", "hdp", "svg", "svgz", "psd", "psb", "xcf", "kra", "ora", "ico", "cur",
    "icns", "tga", "icb", "vda", "vst", "dds", "ktx", "ktx2", "exr", "hdr", "rgbe", "pfm", "qoi", "ff", "pcx",
    "xbm", "xpm", "wbmp", "ras", "sgi", "mng", "jng", "bpg", "flif", "emf", "wmf", "eps", "dcm", "fits",
    "raw", "dng", "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "srw", "orf", "rw2", "rwl", "raf",
    "pef", "x3f", "3fr", "fff", "erf", "kdc", "dcr", "mrw", "mef", "mos", "iiq",
];

/// Whether a file is an image, judged by its extension.
///
/// The list is fixed. What the `image` crate can read depends on the features that the rest of the
/// program enables.
///
/// # Errors
/// If the file is an image in an unsupported format.
pub(super) fn is_image(path: &Path) -> Result<bool> {
    let Some(extension) = path.extension() else { return Ok(false) };
    let extension = extension.to_string_lossy().to_ascii_lowercase();
    if NOT_READ.contains(&extension.as_str()) {
        return Err(Error::data(path, format!(".{extension} is not supported; {SUPPORTED}")));
    }
    Ok(READ.contains(&extension.as_str()))
}

/// Height and width of an image after its orientation is applied.
pub(super) fn size(path: &Path) -> Result<[u32; 2]> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (decoder, orientation) = open(path)?;
    let (width, height) = decoder.dimensions();
    if decoder.color_type().has_alpha() {
        check_opaque(path, &pixels(path, decoder, orientation)?)?;
    }
    Ok(match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => [width, height],
        _ => [height, width],
    })
}

/// Decodes an image and applies its orientation.
pub(super) fn decode(path: &Path) -> Result<DynamicImage> {
    let (decoder, orientation) = open(path)?;
    pixels(path, decoder, orientation)
}

fn pixels(
    path: &Path,
    decoder: impl ImageDecoder,
    orientation: Orientation,
) -> Result<DynamicImage> {
    let image = DynamicImage::from_decoder(decoder);
    let mut image = image.map_err(|error| not_an_image(path, error))?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Opens a decoder that has read the header, and returns the orientation to apply. The content
/// decides the format, not the extension.
fn open(path: &Path) -> Result<(impl ImageDecoder, Orientation)> {
    let file = files::open(path)?;
    let len = file.metadata().at(path)?.len();
    if len > MAX_FILE {
        return Err(Error::data(
            path,
            format!("the file has {len} bytes, but an image may have at most {MAX_FILE}"),
        ));
    }
    let bad = |error| not_an_image(path, error);
    let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format().at(path)?;
    if let Some(format) = reader.format().filter(|format| !FORMATS.contains(format)) {
        return Err(Error::data(path, format!("{format:?} is not supported; {SUPPORTED}")));
    }
    if reader.format() == Some(ImageFormat::Jpeg) {
        // The decoder would silently fill in the missing pixels.
        let mut file = reader.into_inner();
        if !is_whole_jpeg(&mut file).at(path)? {
            return Err(Error::data(path, "the JPEG is cut short: its end marker is missing"));
        }
        file.rewind().at(path)?;
        reader = ImageReader::with_format(file, ImageFormat::Jpeg);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(bad)?;
    let ((width, height), bytes) = (decoder.dimensions(), decoder.total_bytes());
    if bytes == 0 || bytes > MAX_BYTES {
        return Err(Error::data(
            path,
            format!(
                "the image has height {height} and width {width}, which makes {bytes} bytes, but 1 \
                 to {MAX_BYTES} are expected"
            ),
        ));
    }
    limits.reserve(bytes).and_then(|()| decoder.set_limits(limits)).map_err(bad)?;
    let orientation = decoder.orientation().map_err(bad)?;
    Ok((decoder, orientation))
}

/// Whether a JPEG continues to its end marker, EOI.
///
/// An EOI within a segment, such as that of a thumbnail in the metadata, does not count. Bytes
/// after the end are ignored, because phones append more pictures or a video there.
///
/// In the compressed pixels between segments every byte `ff` is followed by a zero, so they cannot
/// contain a marker.
fn is_whole_jpeg(file: &mut impl BufRead) -> IoResult<bool> {
    fn next(file: &mut impl BufRead) -> IoResult<Option<u8>> {
        file.bytes().next().transpose()
    }
    loop {
        file.skip_until(0xff)?;
        let mut marker = next(file)?;
        while marker == Some(0xff) {
            marker = next(file)?;
        }
        match marker {
            None => return Ok(false),
            Some(0xd9) => return Ok(true),
            // A pixel byte, or a marker without a segment: TEM, RST or SOI.
            Some(0x00 | 0x01 | 0xd0..=0xd8) => {}
            Some(_) => {
                let (Some(high), Some(low)) = (next(file)?, next(file)?) else { return Ok(false) };
                let len = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2);
                if std::io::copy(&mut file.take(len), &mut std::io::sink())? < len {
                    return Ok(false);
                }
            }
        }
    }
}

/// Rejects an image with transparent pixels, whose background is unknown.
pub(super) fn check_opaque(path: &Path, image: &DynamicImage) -> Result<()> {
    if !image.color().has_alpha() {
        return Ok(());
    }
    let image = image.to_rgba8();
    match image.enumerate_pixels().find(|(_, _, pixel)| pixel[3] != u8::MAX) {
        None => Ok(()),
        Some((x, y, pixel)) => Err(Error::data(
            path,
            format!(
                "the pixel in row {y} and column {x} is not opaque (alpha {} of 255), and its \
                 background is unknown",
                pixel[3]
            ),
        )),
    }
}

fn not_an_image(path: &Path, error: ImageError) -> Error {
    Error::data(path, format!("not a readable image: {error}")).with_source(error)
}
