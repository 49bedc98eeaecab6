//! MNIST, and every data set distributed as the same four files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{ByteImages, idx};
use crate::error::{At, Error, ErrorKind, Result};

/// Labelled images, split into a training set and a test set.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// The training images; 60,000 for MNIST.
    pub train: ByteImages,
    /// The test images; 10,000 for MNIST.
    pub test: ByteImages,
}

impl Mnist {
    /// Finds MNIST and reads it.
    ///
    /// 1. In `data_dir`, if given; nowhere else is searched then.
    /// 2. In `data/mnist`, in the working directory or one above it, such as a clone of this crate.
    /// 3. With the feature `download`: in Burn's cache, downloaded if necessary.
    ///
    /// # Errors
    /// If no folder is found or a file is bad. The message names `data_dir` or, without one, the
    /// working directory in which the search started; for a bad file, that file.
    pub fn find(data_dir: Option<&Path>) -> Result<Self> {
        if let Some(dir) = data_dir {
            return Self::read(dir);
        }
        let here = std::env::current_dir().at(".")?;
        let folders = here.ancestors().map(|dir| dir.join("data/mnist"));
        match folders.into_iter().find(|dir| locate(dir, "train-images-idx3-ubyte").is_ok()) {
            Some(dir) => Self::read(dir),
            None => Self::download(&here),
        }
    }

    /// Reads the four files of the MNIST family from a folder.
    ///
    /// They are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte`, each with or without `.gz`. Images may have any size. Files of
    /// images with channels are named `idx4` instead of `idx3`. As in some archives, a name may
    /// have a dot before `idx`, as in `train-images.idx3-ubyte`, or the file may be in a folder of
    /// its own name.
    ///
    /// If these files are missing but those of one part of EMNIST are there,
    /// [`read_emnist`](Self::read_emnist) reads them.
    ///
    /// # Errors
    /// If a file is missing or bad, if images and labels do not match, or if there are several
    /// parts of EMNIST. The message names the file.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::data(dir, "there is no such folder"));
        }
        if locate_images(dir, "train").is_err() {
            match &emnist_parts(dir)?[..] {
                [] => {}
                [part] => return Self::read_emnist(dir, part),
                parts => {
                    return Err(Error::data(
                        dir,
                        format!(
                            "there are several parts of EMNIST, {}; choose one with \
                             Mnist::read_emnist, or move its files to a folder of their own",
                            parts.join(", ")
                        ),
                    ));
                }
            }
        }
        Self::pair(dir, read_split(dir, "train")?, read_split(dir, "t10k")?)
    }

    /// Reads the four files of a part of EMNIST, such as `letters`, from a folder.
    ///
    /// They are `emnist-letters-train-images-idx3-ubyte` and so on, each with or without `.gz`. The
    /// files store images column by column; they are transposed here. Labels are those of the
    /// files: for `letters` they count from 1.
    ///
    /// # Errors
    /// If a file is missing or bad, or if images and labels do not match. The message names the
    /// file.
    pub fn read_emnist(dir: impl AsRef<Path>, part: &str) -> Result<Self> {
        let dir = dir.as_ref();
        let read = |split| read_split(dir, &format!("emnist-{part}-{split}"));
        Self::pair(dir, read("train")?.transposed(), read("test")?.transposed())
    }

    fn pair(dir: &Path, train: ByteImages, test: ByteImages) -> Result<Self> {
        if train.shape() != test.shape() {
            return Err(Error::data(
                dir,
                format!(
                    "training images have shape {:?}, but test images have {:?}",
                    train.shape(),
                    test.shape()
                ),
            ));
        }
        Ok(Self { train, test })
    }

    #[cfg(not(feature = "download"))]
    fn download(here: &Path) -> Result<Self> {
        Err(not_found(here, "build with the feature `download` to let Burn fetch it"))
    }

    #[cfg(feature = "download")]
    fn download(here: &Path) -> Result<Self> {
        use burn_dataset::Dataset;
        use burn_dataset::vision::MnistDataset;

        fn bytes(dataset: MnistDataset) -> Result<ByteImages> {
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for item in dataset.iter() {
                let item = item.map_err(|error| {
                    Error::new(ErrorKind::Data, format!("MNIST through Burn: {error}"))
                })?;
                pixels.extend(item.image.as_flattened().iter().map(|&value| value as u8));
                labels.push(item.label);
            }
            ByteImages::new(pixels, [28, 28, 1])?.with_labels(labels)
        }
        // Burn's downloader panics on failure.
        let sets = std::panic::catch_unwind(|| (MnistDataset::train(), MnistDataset::test()));
        let (train, test) = sets.map_err(|panic| {
            let reason = panic.downcast_ref::<String>().map(String::as_str);
            let reason =
                reason.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            not_found(here, &format!("see why Burn could not fetch it: {reason}"))
        })?;
        Ok(Self { train: bytes(train)?, test: bytes(test)? })
    }
}

fn not_found(here: &Path, advice: &str) -> Error {
    Error::new(
        ErrorKind::Data,
        format!(
            "there is no data/mnist in {} or above it; name the folder of MNIST, or {advice}",
            here.display()
        ),
    )
}

fn read_split(dir: &Path, split: &str) -> Result<ByteImages> {
    let images = idx::read_images(locate_images(dir, split)?)?;
    let path = locate(dir, &format!("{split}-labels-idx1-ubyte"))?;
    let labels = idx::read_labels(&path)?;
    images.with_labels(labels).map_err(|error| Error::data(&path, error))
}

/// Names of the EMNIST parts whose training images are in a folder, sorted.
fn emnist_parts(dir: &Path) -> Result<Vec<String>> {
    let mut parts = BTreeSet::new();
    for entry in std::fs::read_dir(dir).at(dir)? {
        let name = entry.at(dir)?.file_name();
        let name = name.to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name).replace(".idx", "-idx");
        let name = name.strip_prefix("emnist-");
        let part = name.and_then(|name| name.strip_suffix("-train-images-idx3-ubyte"));
        parts.extend(part.map(str::to_owned));
    }
    Ok(parts.into_iter().collect())
}

/// Files of images with channels have a name of their own (`idx4`).
fn locate_images(dir: &Path, split: &str) -> Result<PathBuf> {
    locate(dir, &format!("{split}-images-idx4-ubyte"))
        .or_else(|_| locate(dir, &format!("{split}-images-idx3-ubyte")))
}

/// Finds a file by its name: compressed or not, with a dot before `idx` as in some archives, or in
/// a folder of that name as in others.
fn locate(dir: &Path, name: &str) -> Result<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    let names = [format!("{name}.gz"), name.to_owned(), format!("{dotted}.gz"), dotted];
    let found = names.iter().find_map(|name| {
        let path = dir.join(name);
        match path.is_dir() {
            true => names.iter().map(|name| path.join(name)).find(|path| path.is_file()),
            false => path.exists().then_some(path),
        }
    });
    found.ok_or_else(|| {
        let [compressed, raw, _, dotted] = names;
        Error::data(dir, format!("neither {compressed} nor {raw} nor {dotted} is there"))
    })
}
