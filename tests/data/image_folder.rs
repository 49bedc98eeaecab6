//! Folders of images, valid ones and above all invalid ones.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use burn_vae::data::{BatchLoader, Channels, Examples, Fit, ImageFolder, Subset};
use burn_vae::{ErrorKind, Result};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Writes an image of one row, and creates its folders.
fn grey(dir: &Path, name: &str, row: &[u8]) {
    let image = GrayImage::from_raw(row.len() as u32, 1, row.to_vec()).unwrap();
    save(dir, name, image);
}

fn save(dir: &Path, name: &str, image: impl Into<DynamicImage>) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.into().save(path).unwrap();
}

fn open(dir: &TempDir, channels: Channels, fit: Fit) -> Result<ImageFolder> {
    ImageFolder::open(dir.path(), channels, fit)
}

/// Returns the bytes of all images, and checks that decoding on demand and in memory agree.
fn bytes(folder: &ImageFolder) -> Vec<u8> {
    let read = |examples: &dyn Examples| {
        let mut out = vec![0.0; examples.len() * examples.dim()];
        examples.read(&(0..examples.len()).collect::<Vec<_>>(), &mut out).unwrap();
        out
    };
    let loaded = folder.load().unwrap();
    let values = read(folder);
    assert_eq!(values, read(&loaded));
    assert_eq!((folder.shape(), folder.labels()), (loaded.shape(), loaded.labels()));
    values.iter().map(|x| (x * 255.0).round() as u8).collect()
}

#[test]
fn images_in_the_folder_have_no_labels() {
    let dir = folder();
    for (name, value) in [("b.png", 2), ("a.BMP", 1), ("c.pgm", 3), ("B.png", 0)] {
        grey(dir.path(), name, &[value, 10]);
    }
    grey(dir.path(), ".hidden.png", &[9; 5]);
    fs::write(dir.path().join("notes.txt"), "no image").unwrap();
    fs::create_dir(dir.path().join("without images")).unwrap();
    let folder = open(&dir, Channels::Grey, Fit::Reject).unwrap();
    assert_eq!(bytes(&folder), [0, 10, 1, 10, 2, 10, 3, 10]); // B, a, b, c: the order of the bytes
    assert_eq!((folder.len(), folder.shape()), (4, [1, 2, 1]));
    assert!(folder.labels().is_none() && folder.classes().is_empty());
    assert!(folder.files()[1].ends_with("a.BMP"));
}

#[test]
fn sub_folders_are_classes() {
    let dir = folder();
    for (name, value) in
        [("dogs/a.png", 3), ("cats/z.png", 2), ("cats/young/1.png", 1), (".git/x.png", 9)]
    {
        grey(dir.path(), name, &[value]);
    }
    let folder = open(&dir, Channels::Grey, Fit::Reject).unwrap();
    assert_eq!(folder.classes(), ["cats", "dogs"]);
    assert_eq!(folder.labels(), Some([0, 0, 1].as_slice()));
    assert_eq!(bytes(&folder), [1, 2, 3]);
}

#[test]
fn every_format_is_read() {
    let dir = folder();
    let image = RgbImage::from_pixel(8, 8, Rgb([255; 3]));
    for extension in ["png", "jpg", "jpeg", "bmp", "gif", "ppm", "webp"] {
        save(dir.path(), &format!("image.{extension}"), image.clone());
    }
    let folder = open(&dir, Channels::Rgb, Fit::Exact { height: 8, width: 8 }).unwrap();
    assert_eq!((folder.len(), folder.shape()), (7, [8, 8, 3]));
    assert!(bytes(&folder).iter().all(|&byte| byte == 255));
    // The content decides the format.
    fs::rename(dir.path().join("image.gif"), dir.path().join("image2.png")).unwrap();
    assert!(open(&dir, Channels::Rgb, Fit::Reject).unwrap().load().is_ok());
}

#[test]
fn of_several_frames_the_first_is_read() {
    let dir = folder();
    let file = fs::File::create(dir.path().join("a.gif")).unwrap();
    let frame = |value| Frame::new(RgbaImage::from_pixel(2, 2, Rgba([value, value, value, 255])));
    GifEncoder::new(file).encode_frames([frame(40), frame(90)]).unwrap();
    let folder = open(&dir, Channels::Grey, Fit::Reject).unwrap();
    assert_eq!(bytes(&folder), [40; 4]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let (dir, other) = (folder(), folder());
    grey(other.path(), "a.png", &[7]);
    symlink(other.path(), dir.path().join("class")).unwrap();
    symlink(other.path().join("a.png"), other.path().join("b.png")).unwrap();
    let images = open(&dir, Channels::Grey, Fit::Reject).unwrap();
    assert_eq!((bytes(&images), images.classes()), (vec![7, 7], &["class".to_owned()][..]));
    symlink(dir.path(), other.path().join("up")).unwrap();
    let error = open(&dir, Channels::Grey, Fit::Reject).unwrap_err().to_string();
    assert!(error.contains("does a link lead back up?"), "{error}");
    fs::remove_file(other.path().join("up")).unwrap();
    fs::remove_file(other.path().join("a.png")).unwrap();
    let error = open(&dir, Channels::Grey, Fit::Reject).unwrap_err();
    assert!(error.to_string().contains("b.png: "), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn colours_and_depths_are_converted_as_documented() {
    let dir = folder();
    let pixels = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255; 3], [7; 3]];
    let image = RgbImage::from_fn(5, 1, |x, _| Rgb(pixels[x as usize]));
    save(dir.path(), "a.png", image.clone());
    let opaque = RgbaImage::from_fn(5, 1, |x, _| {
        let [r, g, b] = pixels[x as usize];
        Rgba([r, g, b, 255])
    });
    save(dir.path(), "b.png", opaque);
    let grey = open(&dir, Channels::Grey, Fit::Reject).unwrap();
    // 255 times 0.2126, 0.7152 and 0.0722, rounded down.
    assert_eq!(bytes(&grey), [54, 182, 18, 255, 7].repeat(2));
    let rgb = open(&dir, Channels::Rgb, Fit::Reject).unwrap();
    assert_eq!(bytes(&rgb), image.into_raw().repeat(2));

    let dir = folder();
    // 16 bits: v / 257, rounded.
    let image = ImageBuffer::from_raw(5, 1, vec![0u16, 128, 129, 0x8000, 0xffff]).unwrap();
    save(dir.path(), "a.png", DynamicImage::ImageLuma16(image));
    let folder = open(&dir, Channels::Rgb, Fit::Reject).unwrap();
    assert_eq!(bytes(&folder), [0, 0, 0, 0, 0, 0, 1, 1, 1, 128, 128, 128, 255, 255, 255]);
}

/// The filter is a triangle with a half-width of 1 pixel of the larger image and normalised
/// weights: 3/7, 3/7 and 1/7 at the border when halving the size; 1, 3/4 and 1/4 when doubling it.
#[test]
fn resizing_is_linear_and_sees_every_pixel() {
    let resize = |width, row: &[u8]| {
        let dir = folder();
        grey(dir.path(), "a.png", row);
        save(dir.path(), "b.png", GrayImage::from_pixel(9, 5, Luma([77])));
        let folder = open(&dir, Channels::Grey, Fit::Resize { height: 1, width }).unwrap();
        let bytes = bytes(&folder);
        assert!(bytes[width as usize..].iter().all(|&byte| byte == 77), "a constant stays");
        bytes[..width as usize].to_vec()
    };
    assert_eq!(resize(2, &[0, 70, 140, 210]), [50, 160]);
    assert_eq!(resize(4, &[0, 100]), [0, 25, 75, 100]);
    assert_eq!(resize(3, &[5, 6, 7]), [5, 6, 7]);
}

#[test]
fn bad_folders_are_refused_with_the_file_and_the_reason() {
    type Spoil = fn(&Path);
    let cases: [(Spoil, &str, &str); 15] = [
        (|dir| fs::remove_file(dir.join("a.png")).unwrap(), "", "there is no image in this folder"),
        (|dir| fs::write(dir.join("b.png"), "text").unwrap(), "b.png", "not a readable image"),
        (|dir| fs::write(dir.join("b.jpg"), "").unwrap(), "b.jpg", "not a readable image"),
        (|dir| fs::write(dir.join("b.gif"), "GIF89a").unwrap(), "b.gif", "not a readable image"),
        (
            |dir| fs::write(dir.join("b.tiff"), "").unwrap(),
            "b.tiff",
            ".tiff is not supported; PNG,",
        ),
        (
            |dir| fs::write(dir.join("b.avif"), "").unwrap(),
            "b.avif",
            ".avif is not supported; PNG,",
        ),
        (
            |dir| grey(dir, "b.png", &[1, 2, 3]),
            "b.png",
            "the image has height 1 and width 3, but 1 and 2 are expected",
        ),
        (
            |dir| grey(dir, "cats/b.png", &[1, 2]),
            "",
            "some images lie in the folder itself, such as a.png, and some in its sub-folders, \
             such as cats",
        ),
        (
            |dir| {
                fs::create_dir(dir.join("cats")).unwrap();
                fs::rename(dir.join("a.png"), dir.join("cats/a.png")).unwrap();
                fs::create_dir(dir.join("dogs")).unwrap();
            },
            "dogs",
            "this class has no image, but others do",
        ),
        (
            |dir| {
                fs::remove_file(dir.join("a.png")).unwrap();
                (0..257).for_each(|i| grey(dir, &format!("{i}/a.png"), &[1, 2]));
            },
            "",
            "there are 257 sub-folders, but at most 256 classes",
        ),
        (
            |dir| {
                let deep = ["d"; 18].join("/");
                fs::create_dir_all(dir.join(deep)).unwrap();
            },
            "d",
            "folders are nested more than 16 deep; does a link lead back up?",
        ),
        (
            // Twenty bytes that would need 900 megabytes.
            |dir| fs::write(dir.join("b.pgm"), "P5 30000 30000 255\n").unwrap(),
            "b.pgm",
            "the image has height 30000 and width 30000, which makes 900000000 bytes, but 1 to",
        ),
        (
            |dir| fs::write(dir.join("b.pgm"), "P5 40000 1 255\n").unwrap(),
            "b.pgm",
            "not a readable image: Image size exceeds limit",
        ),
        (
            |dir| {
                let mut image = RgbaImage::from_pixel(2, 1, Rgba([1, 2, 3, 255]));
                image.put_pixel(1, 0, Rgba([1, 2, 3, 40]));
                save(dir, "b.png", image);
            },
            "b.png",
            "the pixel in row 0 and column 1 is not opaque (alpha 40 of 255)",
        ),
        (
            |dir| fs::write(dir.join("b.pgm"), "P5 0 1 255\n").unwrap(),
            "b.pgm",
            "height 1 and width 0",
        ),
    ];
    for (spoil, name, reason) in cases {
        let dir = folder();
        grey(dir.path(), "a.png", &[1, 2]);
        spoil(dir.path());
        let error = open(&dir, Channels::Grey, Fit::Reject).expect_err(reason);
        let text = error.to_string();
        assert!(text.contains(reason), "{text}, not {reason}");
        let file = dir.path().join(name);
        let file = file.to_str().unwrap().trim_end_matches('/');
        assert!(text.starts_with(file), "{text} does not name {file}");
        assert_eq!(error.kind(), ErrorKind::Data, "{text}");
    }
}

#[test]
fn a_missing_folder_and_an_impossible_size_are_refused() {
    let error = ImageFolder::open("/nowhere/at-all", Channels::Rgb, Fit::Reject).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/at-all: there is no such folder");
    let dir = folder();
    grey(dir.path(), "a.png", &[1, 2]);
    let error = open(&dir, Channels::Rgb, Fit::Exact { height: 4, width: 2 }).unwrap_err();
    let reason = "a.png: the image has height 1 and width 2, but 4 and 2 are expected";
    assert!(error.to_string().ends_with(reason), "{error}");
    for (height, width) in [(0, 4), (4, 0), (40_000, 1), (30_000, 30_000), (u32::MAX, u32::MAX)] {
        let error = open(&dir, Channels::Rgb, Fit::Resize { height, width }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let reason = format!("height {height} and width {width} are configured, but");
        assert!(error.to_string().contains(&reason), "{error}");
    }
}

#[test]
fn files_that_go_bad_after_opening_stop_the_loader_with_their_name() {
    type Spoil = fn(&Path);
    let cases: [(Spoil, &str, ErrorKind); 4] = [
        (|path| fs::remove_file(path).unwrap(), "b.png: ", ErrorKind::Io),
        (|path| fs::write(path, "text").unwrap(), "b.png: not a readable image", ErrorKind::Data),
        (
            |path| grey(path.parent().unwrap(), "b.png", &[1, 2, 3]),
            "b.png: the image has height 1 and width 3, but 1 and 2 are expected",
            ErrorKind::Data,
        ),
        (
            // The header stays valid.
            |path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() - 20]).unwrap();
            },
            "b.png: not a readable image",
            ErrorKind::Data,
        ),
    ];
    for (spoil, reason, kind) in cases {
        let dir = folder();
        grey(dir.path(), "a.png", &[1, 2]);
        grey(dir.path(), "b.png", &[3, 4]);
        let folder = open(&dir, Channels::Grey, Fit::Reject).unwrap();
        spoil(&dir.path().join("b.png"));
        let error = folder.load().unwrap_err();
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(error.kind(), kind, "{error}");
        let loader = BatchLoader::ordered(Arc::new(folder), 1, &Device::flex()).unwrap();
        let batches = loader.epoch().collect::<Vec<_>>();
        assert!(batches.len() == 2 && batches[0].is_ok());
        let error = batches[1].as_ref().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Images decoded on demand equal those in memory, for any request.
    #[test]
    fn both_ways_of_reading_agree(
        sizes in prop::collection::vec((1u32..9, 1u32..9, any::<u8>()), 1..5),
        height in 1u32..7, width in 1u32..7, rgb: bool,
    ) {
        let dir = folder();
        for (i, &(h, w, k)) in sizes.iter().enumerate() {
            let pixel = |x, y| Rgb([(x * 31 + y * 7) as u8 ^ k, (x * y) as u8, k]);
            save(dir.path(), &format!("{i}/{i}.png"), RgbImage::from_fn(w, h, pixel));
        }
        let channels = if rgb { Channels::Rgb } else { Channels::Grey };
        let folder = open(&dir, channels, Fit::Resize { height, width }).unwrap();
        let all = bytes(&folder);
        prop_assert_eq!(all.len(), sizes.len() * folder.dim());
        // In a different order, through a subset.
        let order = (0..sizes.len()).rev().collect::<Vec<_>>();
        let part = Subset::select(Arc::new(folder.clone()), order).unwrap();
        let mut out = vec![0.0; all.len()];
        part.read(&(0..sizes.len()).collect::<Vec<_>>(), &mut out).unwrap();
        let back = out.chunks(folder.dim()).rev().flatten().map(|x| (x * 255.0).round() as u8);
        prop_assert_eq!(back.collect::<Vec<_>>(), all);
    }
}
