//! The IDX reader with valid files and every kind of invalid one.

use burn_vae::ErrorKind;
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Examples, idx};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;

/// A 2 by 3 array.
const GOOD: [u8; 18] = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn read(bytes: &[u8]) -> burn_vae::Result<idx::Idx> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some-idx-ubyte");
    std::fs::write(&path, bytes).unwrap();
    idx::read(&path)
}

#[test]
fn raw_and_compressed_files_are_read() {
    for bytes in [GOOD.to_vec(), gzip(&GOOD)] {
        let idx = read(&bytes).unwrap();
        assert_eq!(idx.shape, [2, 3]);
        assert_eq!(idx.data, [1, 2, 3, 4, 5, 6]);
    }
    assert_eq!(read(&[0, 0, 8, 1, 0, 0, 0, 0]).unwrap().data, [0u8; 0]);
}

#[test]
fn bad_files_are_refused_with_the_reason() {
    let changed = |at: usize, byte: u8| {
        let mut bytes = GOOD.to_vec();
        bytes[at] = byte;
        bytes
    };
    let trailing = [GOOD.as_slice(), &[7]].concat();
    let compressed = gzip(&GOOD);
    let mut damaged = compressed.clone();
    let last = damaged.len() - 6; // within the checksum
    damaged[last] ^= 0xff;
    for (bytes, reason) in [
        (vec![], "truncated: the file ends within the magic number"),
        (vec![0, 0, 8], "truncated: the file ends within the magic number"),
        (b"\x89PNG\r\n".to_vec(), "not an IDX file: it starts with [89, 50, 4e, 47]"),
        (changed(1, 1), "not an IDX file"),
        (changed(2, 0x0d), "elements have type 0x0d, but only bytes (0x08) are supported"),
        (changed(3, 0), "the array has no dimensions"),
        (GOOD[..6].to_vec(), "truncated: the file ends within the size of dimension 1 of 2"),
        (GOOD[..11].to_vec(), "truncated: the file ends within the size of dimension 2 of 2"),
        (GOOD[..17].to_vec(), "the header promises 6 bytes for shape [2, 3], but only 5 follow"),
        (changed(7, 3), "the header promises 9 bytes for shape [3, 3], but only 6 follow"),
        (changed(7, 1), "more bytes follow the 3 that the header promises for shape [1, 3]"),
        (changed(4, 0xff), "the header promises 12834570246 bytes"),
        ([&GOOD[..4], &[0xff; 14]].concat(), "the header claims an absurd shape"),
        (trailing.clone(), "more bytes follow the 6"),
        (gzip(&trailing), "more bytes follow the 6"),
        (compressed[..compressed.len() - 9].to_vec(), "truncated: the gzip stream ends too early"),
        (compressed[..5].to_vec(), "truncated"),
        (damaged, "damaged gzip stream"),
        ([compressed.as_slice(), b"junk"].concat(), "gzip"),
    ] {
        let error = read(&bytes).expect_err(reason);
        let text = error.to_string();
        assert!(text.contains(reason), "{text}, not {reason}");
        assert!(text.contains("some-idx-ubyte"), "no file is named: {text}");
        assert_eq!(error.kind(), ErrorKind::Data, "{text}");
    }
}

#[test]
fn a_missing_file_is_an_io_error() {
    let error = idx::read("/nowhere/at-all").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("/nowhere/at-all: "), "{error}");
}

fn idx_file(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

/// Writes four valid files of tiny images, which a test may damage.
fn family(dir: &Path) {
    for (split, n) in [("train", 3u32), ("t10k", 2)] {
        let images = idx_file(&[n, 2, 2], &vec![255; 4 * n as usize]);
        let labels = idx_file(&[n], &vec![1; n as usize]);
        std::fs::write(dir.join(format!("{split}-images-idx3-ubyte")), images).unwrap();
        std::fs::write(dir.join(format!("{split}-labels-idx1-ubyte.gz")), gzip(&labels)).unwrap();
    }
}

#[test]
fn the_four_files_are_read_whether_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    family(dir.path());
    let mnist = Mnist::read(dir.path()).unwrap();
    assert_eq!((mnist.train.len(), mnist.test.len()), (3, 2));
    assert_eq!(mnist.train.shape(), [2, 2, 1]);
    assert_eq!(mnist.test.labels(), Some([1, 1].as_slice()));
}

#[test]
fn bad_families_are_refused_with_the_file() {
    for (name, content, reason) in [
        ("train-images-idx3-ubyte", None, "neither train-images-idx3-ubyte.gz nor train-images"),
        ("t10k-labels-idx1-ubyte.gz", None, "neither t10k-labels-idx1-ubyte.gz nor t10k-labels"),
        (
            "t10k-labels-idx1-ubyte.gz",
            Some(idx_file(&[3], &[1; 3])),
            "t10k-labels-idx1-ubyte.gz: there are 3 labels for 2 images",
        ),
        (
            "train-images-idx3-ubyte",
            Some(idx_file(&[12], &[1; 12])),
            "train-images-idx3-ubyte: images have 3 dimensions (count, height, width), or a fourth for channels, not [12]",
        ),
        (
            "train-images-idx3-ubyte",
            Some(idx_file(&[0, 2, 2], &[])),
            "train-images-idx3-ubyte: the file holds no image",
        ),
        (
            "train-images-idx3-ubyte",
            Some(idx_file(&[3, 0, 2], &[])),
            "train-images-idx3-ubyte: 0 bytes are not a whole number of images",
        ),
        (
            "t10k-images-idx3-ubyte",
            Some(idx_file(&[2, 2, 3], &[1; 12])),
            "training images have shape [2, 2, 1], but test images have [2, 3, 1]",
        ),
        (
            "train-labels-idx1-ubyte.gz",
            Some(idx_file(&[3, 1], &[1; 3])),
            "train-labels-idx1-ubyte.gz: labels have 1 dimension (count), not [3, 1]",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        family(dir.path());
        match content {
            Some(content) => std::fs::write(dir.path().join(name), content).unwrap(),
            None => std::fs::remove_file(dir.path().join(name)).unwrap(),
        }
        let error = Mnist::find(Some(dir.path())).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}, not {reason}");
    }
}

#[test]
fn the_copy_of_mnist_in_the_repository_is_whole() {
    let mnist = Mnist::find(None).unwrap();
    assert_eq!((mnist.train.len(), mnist.test.len()), (60_000, 10_000));
    assert_eq!(mnist.train.shape(), [28, 28, 1]);
    // The mean of all training pixels, which is commonly used for normalisation: 0.1307.
    let mut image = vec![0.0; 784];
    let mut sum = 0.0;
    for i in 0..mnist.train.len() {
        mnist.train.read(&[i], &mut image).unwrap();
        sum += image.iter().map(|&v| f64::from(v)).sum::<f64>();
    }
    assert!((sum / (60_000.0 * 784.0) - 0.130_66).abs() < 1e-5);
    let mut counts = [0; 10];
    mnist.test.labels().unwrap().iter().for_each(|&label| counts[usize::from(label)] += 1);
    assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
}

#[test]
fn images_with_channels_and_of_any_size_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("images");
    std::fs::write(&path, idx_file(&[2, 2, 1, 3], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
        .unwrap();
    let images = idx::read_images(&path).unwrap();
    assert_eq!((images.len(), images.shape()), (2, [2, 1, 3]));
    let mut row = [0.0; 6];
    images.read(&[1], &mut row).unwrap();
    assert_eq!(row.map(|x| (x * 255.0).round() as u8), [6, 7, 8, 9, 10, 11]);

    std::fs::write(&path, idx_file(&[1, 1, 1, 1, 1], &[0])).unwrap();
    let error = idx::read_images(&path).unwrap_err().to_string();
    assert!(error.contains("or a fourth for channels, not [1, 1, 1, 1, 1]"), "{error}");

    // A folder of colour images that are not square.
    for (split, n) in [("train", 3u32), ("t10k", 1)] {
        let images = gzip(&idx_file(&[n, 2, 4, 3], &vec![7; 24 * n as usize]));
        std::fs::write(dir.path().join(format!("{split}-images-idx4-ubyte.gz")), images).unwrap();
        let labels = idx_file(&[n], &vec![1; n as usize]);
        std::fs::write(dir.path().join(format!("{split}-labels-idx1-ubyte")), labels).unwrap();
    }
    let set = Mnist::read(dir.path()).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.test.shape()), (3, 1, [2, 4, 3]));
}

/// Writes a part of EMNIST with images of 2 rows and 3 columns, stored column by column.
fn emnist(dir: &Path, part: &str) {
    for (split, n) in [("train", 2u32), ("test", 1)] {
        let images = idx_file(&[n, 3, 2], &[0, 3, 1, 4, 2, 5].repeat(n as usize));
        let labels = idx_file(&[n], &vec![26; n as usize]);
        let name = |kind: &str| dir.join(format!("emnist-{part}-{split}-{kind}-ubyte"));
        std::fs::write(name("images-idx3").with_extension("gz"), gzip(&images)).unwrap();
        std::fs::write(name("labels-idx1"), labels).unwrap();
    }
}

#[test]
fn emnist_is_found_and_turned() {
    let dir = tempfile::tempdir().unwrap();
    emnist(dir.path(), "letters");
    let set = Mnist::read(dir.path()).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.train.shape()), (2, 1, [2, 3, 1]));
    let mut image = [0.0; 6];
    set.train.read(&[1], &mut image).unwrap();
    assert_eq!(image.map(|x| (x * 255.0).round() as u8), [0, 1, 2, 3, 4, 5]);
    assert_eq!(set.test.labels(), Some([26].as_slice()));

    emnist(dir.path(), "digits");
    let error = Mnist::read(dir.path()).unwrap_err().to_string();
    let reason = "several parts of EMNIST, digits, letters; choose one with Mnist::read_emnist";
    assert!(error.contains(reason), "{error}");
    assert_eq!(Mnist::read_emnist(dir.path(), "digits").unwrap().train.len(), 2);
    let error = Mnist::read_emnist(dir.path(), "byclass").unwrap_err().to_string();
    let reason = "neither emnist-byclass-train-images-idx3-ubyte.gz nor emnist-byclass-train";
    assert!(error.contains(reason), "{error}");

    // MNIST itself takes precedence.
    family(dir.path());
    assert_eq!(Mnist::read(dir.path()).unwrap().train.shape(), [2, 2, 1]);
}

/// Kaggle's archive has both: files with a dot in the name, and folders that contain the file of
/// their name.
#[test]
fn files_under_the_names_of_other_archives_are_found() {
    for place in [
        "{dotted}",
        "{dotted}.gz",
        "{name}/{name}",
        "{name}/{dotted}",
        "{name}.gz/{name}",
        "{dotted}/{name}",
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (split, n) in [("train", 3u32), ("t10k", 2)] {
            for (kind, shape, len) in
                [("images-idx3", vec![n, 2, 2], 4 * n), ("labels-idx1", vec![n], n)]
            {
                let name = format!("{split}-{kind}-ubyte");
                let path = place.replace("{dotted}", &name.replace("-idx", ".idx"));
                let path = dir.path().join(path.replace("{name}", &name));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let content = idx_file(&shape, &vec![1; len as usize]);
                let is_compressed = place.ends_with(".gz");
                std::fs::write(path, if is_compressed { gzip(&content) } else { content }).unwrap();
            }
        }
        let mnist = Mnist::read(dir.path()).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!((mnist.train.len(), mnist.test.len()), (3, 2), "{place}");
        assert_eq!(mnist.train.shape(), [2, 2, 1]);
    }
    // A file takes precedence over an empty folder, and both archives in one place are one data
    // set.
    let dir = tempfile::tempdir().unwrap();
    family(dir.path());
    std::fs::create_dir(dir.path().join("train-images-idx3-ubyte.gz")).unwrap();
    assert_eq!(Mnist::read(dir.path()).unwrap().train.len(), 3);
    let error = idx::read(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with(": this is a folder, not a file"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    emnist(dir.path(), "letters");
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().replace("-idx", ".idx");
        std::fs::rename(&path, dir.path().join(name)).unwrap();
    }
    assert_eq!(Mnist::read(dir.path()).unwrap().train.shape(), [2, 3, 1]);
}
