//! MNIST, and every data set that comes as the same four files.

use std::path::{Path, PathBuf};

use super::{ByteImages, Examples, idx};
use crate::error::{At, Error, ErrorKind, Result};

/// Images with labels, a set to train on and one to test on.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// The images to train on; 60,000 for MNIST.
    pub train: ByteImages,
    /// The images to test on; 10,000 for MNIST.
    pub test: ByteImages,
}

impl Mnist {
    /// Looks for MNIST where it is to be expected and reads it.
    ///
    /// 1. In `data_dir`, if one is given, and then nowhere else.
    /// 2. In `data/mnist`, in the working directory or one above it, such as a clone of this crate.
    /// 3. With the feature `download`: wherever Burn keeps it, fetched if need be.
    ///
    /// # Errors
    /// If it is nowhere to be found (the message lists where it was sought), or if a file is bad.
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
    /// `t10k-labels-idx1-ubyte`, each with or without `.gz`. Images may have any size.
    ///
    /// # Errors
    /// If a file is missing or bad, or if images and labels do not match. The message names the
    /// file.
    pub fn read(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::data(dir, "there is no such folder"));
        }
        let (train, test) = (read_split(dir, "train")?, read_split(dir, "t10k")?);
        if train.shape() != test.shape() {
            return Err(Error::data(
                dir,
                format!(
                    "images to train on have shape {:?}, those to test on {:?}",
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
        // Burn's downloader panics where it fails.
        let sets = std::panic::catch_unwind(|| (MnistDataset::train(), MnistDataset::test()));
        let (train, test) = sets.map_err(|panic| {
            let reason = panic.downcast_ref::<String>().map(String::as_str);
            let reason = reason.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
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
    let path = locate(dir, &format!("{split}-images-idx3-ubyte"))?;
    let images = idx::read(&path)?;
    let [_, height, width] = images.shape[..] else {
        return Err(Error::data(
            &path,
            format!("images have 3 dimensions (count, height, width), not {:?}", images.shape),
        ));
    };
    let set = ByteImages::new(images.data, [height, width, 1])
        .map_err(|error| Error::data(&path, error))?;
    if set.is_empty() {
        return Err(Error::data(&path, "the file holds no image"));
    }
    let path = locate(dir, &format!("{split}-labels-idx1-ubyte"))?;
    let labels = idx::read(&path)?;
    if labels.shape.len() != 1 {
        return Err(Error::data(
            &path,
            format!("labels have 1 dimension (count), not {:?}", labels.shape),
        ));
    }
    set.with_labels(labels.data).map_err(|error| Error::data(&path, error))
}

fn locate(dir: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [dir.join(format!("{name}.gz")), dir.join(name)];
    candidates
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| Error::data(dir, format!("neither {name}.gz nor {name} is there")))
}
