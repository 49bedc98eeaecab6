//! JPEGs as cameras, phones and the web produce them, and paths that are not files.

use std::fs;
use std::path::Path;

use burn_vae::data::{Channels, Fit, ImageFolder};
use burn_vae::{ErrorKind, Result};
use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, Luma};
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    size: [usize; 2],
    jpegs: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    jpeg: String,
    pixels: Vec<u8>,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("../fixtures/jpegs.json")).unwrap()
}

impl Golden {
    fn bytes(&self) -> Vec<u8> {
        let hex = self.jpeg.as_bytes().chunks_exact(2).map(|hex| str::from_utf8(hex).unwrap());
        hex.map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
    }
}

/// Opens a folder with one file.
fn open(name: &str, bytes: &[u8]) -> Result<ImageFolder> {
    let dir = tempfile::tempdir().unwrap().keep();
    fs::write(dir.join(name), bytes).unwrap();
    let folder = ImageFolder::open(&dir, Channels::Rgb, Fit::Reject);
    if folder.is_err() {
        fs::remove_dir_all(dir).unwrap();
    }
    folder
}

/// Returns the shape and the bytes of a single image.
fn pixels(name: &str, bytes: &[u8]) -> Result<([usize; 3], Vec<u8>)> {
    let folder = open(name, bytes)?;
    let images = folder.load();
    fs::remove_dir_all(folder.files()[0].parent().unwrap()).unwrap();
    images.map(|images| (images.shape(), images.pixels().to_vec()))
}

/// Inserts a segment after the first marker of a JPEG.
fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &len, content, &jpeg[2..]].concat()
}

#[test]
fn jpegs_of_every_kind_are_read() {
    let Goldens { size: [height, width], jpegs } = goldens();
    for golden in jpegs {
        let (shape, found) = pixels("a.jpg", &golden.bytes()).unwrap();
        assert_eq!(shape, [height, width, 3]);
        let rows = found.chunks_exact(width * 3).skip(3).step_by(8);
        let some = rows.flat_map(|row| row.chunks_exact(3).skip(5).step_by(8)).flatten();
        for (found, expected) in some.zip(&golden.pixels) {
            assert!(found.abs_diff(*expected) <= 4, "{}: {found}, {expected}", golden.name);
        }
    }
}

/// A JPEG truncated anywhere is an error before training begins; the decoder would fill in the rest
/// with grey.
#[test]
fn jpegs_that_are_cut_short_are_refused() {
    for golden in goldens().jpegs {
        let jpeg = golden.bytes();
        let cuts = (1..20).map(|twentieth| jpeg.len() * twentieth / 20);
        for cut in cuts.chain([jpeg.len() - 2, jpeg.len() - 1]) {
            for rest in [&[][..], &[0; 4000]] {
                let error = open("a.jpg", &[&jpeg[..cut], rest].concat()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Data);
                let text = error.to_string();
                assert!(
                    text.contains("a.jpg: the JPEG is cut short"),
                    "{} at {cut}: {text}",
                    golden.name
                );
            }
        }
    }
}

/// Two images in one file, an appended video, a thumbnail with its own end marker, fill bytes, and
/// bytes between segments.
#[test]
fn what_cameras_put_into_a_jpeg_and_behind_it_does_no_harm() {
    for golden in goldens().jpegs {
        let jpeg = golden.bytes();
        let plain = pixels("a.jpg", &jpeg).unwrap();
        let (first, rest) = jpeg.split_at(2);
        // After the first segment.
        let behind = 4 + usize::from(jpeg[5]);
        for changed in [
            [&jpeg[..], &jpeg].concat(),
            [&jpeg[..], &jpeg[..jpeg.len() / 2]].concat(),
            [&jpeg[..], b"\0\0\0\x18ftypmp42", &[0; 500]].concat(),
            with_segment(&jpeg, 0xe1, &[b"Exif\0\0", &jpeg[..]].concat()),
            with_segment(&jpeg, 0xfe, &[0xff, 0xd9]),
            [first, &[0xff, 0xff, 0xff], rest].concat(),
            [&jpeg[..behind], &[0; 5], &jpeg[behind..]].concat(),
        ] {
            assert_eq!(pixels("a.jpg", &changed).unwrap(), plain, "{}", golden.name);
            // The extra content must not hide that the file is truncated.
            if changed.len() < 2 * jpeg.len() && changed[..jpeg.len()] != jpeg {
                let error = open("a.jpg", &changed[..changed.len() - 40]).unwrap_err().to_string();
                assert!(error.contains("the JPEG is cut short"), "{}: {error}", golden.name);
            }
        }
    }
}

/// Six squares of 8 pixels, arranged as `abc` above `def`.
fn squares() -> GrayImage {
    GrayImage::from_fn(24, 16, |x, y| Luma([40 * (1 + x / 8 + 3 * (y / 8)) as u8]))
}

/// TIFF with a single entry, the orientation, in either byte order.
fn exif(orientation: u8, is_little: bool) -> Vec<u8> {
    let (mark, order): (_, fn(u32, usize) -> Vec<u8>) = match is_little {
        true => (b"II", |value, len| value.to_le_bytes()[..len].to_vec()),
        false => (b"MM", |value, len| value.to_be_bytes()[4 - len..].to_vec()),
    };
    let entry =
        [order(0x0112, 2), order(3, 2), order(1, 4), order(orientation.into(), 2), order(0, 2)];
    [mark.to_vec(), order(42, 2), order(8, 4), order(1, 2), entry.concat(), order(0, 4)].concat()
}

/// EXIF 2.3, table 6: where the first row and the first column of the file appear.
#[test]
fn photographs_stand_upright() {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&squares()).unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    squares().write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    for (orientation, expected) in [
        (0, "abc def"),
        (1, "abc def"),
        (2, "cba fed"),
        (3, "fed cba"),
        (4, "def abc"),
        (5, "ad be cf"),
        (6, "da eb fc"),
        (7, "fc eb da"),
        (8, "cf be ad"),
        (9, "abc def"),
    ] {
        for is_little in [true, false] {
            let exif = exif(orientation, is_little);
            let jpeg = with_segment(&jpeg, 0xe1, &[b"Exif\0\0", &exif[..]].concat());
            // After the header of a PNG, which ends at byte 33.
            let (len, named) = ((exif.len() as u32).to_be_bytes(), [b"eXIf", &exif[..]].concat());
            let mut crc = flate2::Crc::new();
            crc.update(&named);
            let chunk = [&len[..], &named, &crc.sum().to_be_bytes()].concat();
            let png = [&png[..33], &chunk, &png[33..]].concat();
            for (name, bytes) in [("a.jpg", jpeg), ("a.png", png)] {
                let ([height, width, _], pixels) = pixels(name, &bytes).unwrap();
                let letter = |x: usize, y: usize| {
                    let value = pixels[((8 * y + 4) * width + 8 * x + 4) * 3];
                    char::from(b'a' + ((u16::from(value) + 20) / 40 - 1) as u8)
                };
                let row = |y| (0..width / 8).map(|x| letter(x, y)).collect::<String>();
                let found = (0..height / 8).map(row).collect::<Vec<_>>().join(" ");
                assert_eq!(found, expected, "orientation {orientation} of {name}");
            }
        }
    }
}

/// Sizes are those of the upright images.
#[test]
fn sizes_are_compared_after_turning() {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 100).encode_image(&squares()).unwrap();
    let turned = with_segment(&jpeg, 0xe1, &[b"Exif\0\0", &exif(6, true)[..]].concat());
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jpg"), &turned).unwrap();
    image::imageops::rotate90(&squares()).save(dir.path().join("b.png")).unwrap();
    let folder = ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject).unwrap();
    assert_eq!(folder.shape(), [24, 16, 1]);
    folder.load().unwrap();
    fs::write(dir.path().join("c.jpg"), &jpeg).unwrap();
    let error = ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject).unwrap_err().to_string();
    let reason = "c.jpg: the image has height 16 and width 24, but 24 and 16 are expected";
    assert!(error.ends_with(reason), "{error}");
}

#[test]
fn every_extension_of_an_image_is_known() {
    let jpeg = goldens().jpegs[0].bytes();
    for extension in ["jpg", "jpe", "JPE", "jif", "jfif", "pjpeg", "pjp", "png", "apng", "dib"] {
        assert!(pixels(&format!("a.{extension}"), &jpeg).is_ok(), "{extension}");
    }
    let others = "heic HEIC heif hif avif jxl jp2 j2k jpx jxr svg svgz psd xcf ico icns tga dds exr hdr qoi ff pcx tif \
                  tiff raw dng cr2 cr3 nef arw orf rw2 raf pef eps dcm fits";
    for extension in others.split(' ') {
        let name = format!("a.{extension}");
        let error = open(&name, b"").unwrap_err();
        let reason = format!("{name}: .{} is not supported; PNG, JPEG,", extension.to_lowercase());
        assert!(error.to_string().contains(&reason), "{error}");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
    let error = open("a.txt", &jpeg).unwrap_err().to_string();
    assert!(error.contains("there is no image in this folder"), "{error}");
}

/// Creates a pipe without a writer.
#[cfg(unix)]
pub fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_images_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.jpg"), goldens().jpegs[0].bytes()).unwrap();
    pipe(&dir.path().join("b.jpg"));
    let error = ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject).unwrap_err().to_string();
    assert!(error.ends_with("b.jpg: this is a pipe, not a file"), "{error}");
    fs::remove_file(dir.path().join("b.jpg")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("b.jpg")).unwrap();
    let error = ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject).unwrap_err().to_string();
    assert!(error.ends_with("b.jpg: this is a device or a socket, not a file"), "{error}");
}
