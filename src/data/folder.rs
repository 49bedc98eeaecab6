use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::imageops::{self, FilterType};
use serde::{Deserialize, Serialize};

use super::decode::{self, MAX_BYTES, MAX_SIDE, check_opaque, is_image};
use super::each::each_row;
use super::{ByteImages, Examples, Protocol};
use crate::error::{At, Error, ErrorKind, Result};

/// Image files, decoded on demand by all threads.
///
/// The images are either directly in the folder, without labels, or in sub-folders at any depth,
/// where the top-level sub-folder is the class. Classes are numbered from 0 in the order of their
/// names, and images are sorted by path. Both orders compare bytes, so they are the same on every
/// machine.
///
/// PNG, JPEG, BMP, GIF, PNM and WebP are read, by the extensions `.png`, `.apng`, `.jpg`, `.jpeg`,
/// `.jpe`, `.jif`, `.jfif`, `.pjpeg`, `.pjp`, `.bmp`, `.dib`, `.gif`, `.pbm`, `.pgm`, `.ppm`,
/// `.pnm`, `.pam` and `.webp` in any case. A file with the extension of another image format is an
/// error, for example `.tiff`, `.heic`, `.svg` or the raw format of a camera. Hidden files and
/// folders, whose names start with a dot, are ignored, and so are files with any other extension.
/// Links are followed. An image that is not a regular file, such as a pipe, is an error.
///
/// A truncated image is an error, and so is a JPEG without its end marker. Bytes after that marker,
/// which many phones write, are ignored. JPEGs have no checksums, so damage within one may go
/// unnoticed.
///
/// | image | result |
/// |---|---|
/// | colour, read as grey | 0.2126 red + 0.7152 green + 0.0722 blue, rounded down |
/// | grey, read as colour | three equal channels |
/// | 16 bits per value | 8 bits per value, rounded |
/// | alpha channel | the opaque image; a transparent pixel is an error, because its background is unknown |
/// | several frames | the first frame |
/// | orientation in the metadata (EXIF), as in photographs | upright; its size is that after the rotation |
/// | colour profile | the pixels as stored |
///
/// A value `b` from 0 to 255 becomes `b / 255`.
///
/// ```no_run
/// use burn_vae::data::{Channels, Fit, ImageFolder};
///
/// let fit = Fit::Resize { height: 64, width: 64 };
/// let faces = ImageFolder::open("faces", Channels::Rgb, fit)?;
/// let (train, valid) = faces.load()?.split_random(0.1, 0)?; // all in memory
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageFolder {
    files: Arc<[PathBuf]>,
    labels: Option<Arc<[u8]>>,
    classes: Vec<String>,
    channels: Channels,
    size: [u32; 2],
    resize: bool,
}

/// The channels to read images with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// One: luminance.
    Grey,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// Number of channels.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// How images are brought to one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// Rejects images whose size differs from the first.
    Reject,
    /// Rejects images whose size differs from this one.
    Exact {
        /// Rows of pixels.
        height: u32,
        /// Columns of pixels.
        width: u32,
    },
    /// Scales every image to this size, ignoring its proportions, with a triangle filter: linear
    /// interpolation, widened when an image shrinks so that every pixel counts.
    Resize {
        /// Rows of pixels.
        height: u32,
        /// Columns of pixels.
        width: u32,
    },
}

/// Deeper nesting means that links form a loop.
const MAX_DEPTH: usize = 16;

impl ImageFolder {
    /// Lists the images of a folder and reads the header of each.
    ///
    /// Images with an alpha channel are also decoded, to check that they are opaque.
    ///
    /// # Errors
    /// If there is no image; if there are images both in the folder and in its sub-folders; if a
    /// sub-folder has no images while others do, or there are more than 256 sub-folders; if a file
    /// is not an image, is not opaque, has the wrong size or exceeds the size limits. The message
    /// names the file.
    pub fn open(dir: impl AsRef<Path>, channels: Channels, fit: Fit) -> Result<Self> {
        let dir = dir.as_ref();
        if let Fit::Exact { height, width } | Fit::Resize { height, width } = fit {
            check_size(height, width, channels)?;
        }
        if !dir.is_dir() {
            return Err(Error::data(dir, "there is no such folder"));
        }
        let (files, labels, classes) = find(dir)?;
        let first = decode::size(&files[0])?;
        let (size, resize) = match fit {
            Fit::Reject => (first, false),
            Fit::Exact { height, width } => ([height, width], false),
            Fit::Resize { height, width } => ([height, width], true),
        };
        let files = files.into();
        let folder = Self { files, labels, classes, channels, size, resize };
        for path in &*folder.files {
            folder.check(path, decode::size(path)?)?;
        }
        Ok(folder)
    }

    /// Decodes all images into memory.
    ///
    /// # Errors
    /// If a file is not an image, or its size has changed since the folder was opened. The message
    /// names the file.
    pub fn load(&self) -> Result<ByteImages> {
        let bytes = self.files.len().saturating_mul(self.dim());
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(bytes).map_err(|_| {
            Error::new(
                ErrorKind::Data,
                format!("no memory for {} images, which need {bytes} bytes", self.files.len()),
            )
        })?;
        for path in &*self.files {
            pixels.extend(self.decode(path)?);
        }
        let images = ByteImages::new(pixels, self.shape())?;
        match &self.labels {
            Some(labels) => images.with_labels(labels.clone()),
            None => Ok(images),
        }
    }

    /// Height, width and channels of an image.
    pub fn shape(&self) -> [usize; 3] {
        let [height, width] = self.size.map(|side| side as usize);
        [height, width, self.channels.count()]
    }

    /// The path of each image.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The class of each image, if the images are in sub-folders.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The names of the classes, by number; empty if the images have no labels.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn check(&self, path: &Path, found: [u32; 2]) -> Result<()> {
        if self.resize || found == self.size {
            return Ok(());
        }
        let ([h, w], [height, width]) = (found, self.size);
        Err(Error::data(
            path,
            format!(
                "the image has height {h} and width {w}, but {height} and {width} are expected"
            ),
        ))
    }

    fn decode(&self, path: &Path) -> Result<Vec<u8>> {
        let image = decode::decode(path)?;
        self.check(path, [image.height(), image.width()])?;
        check_opaque(path, &image)?;
        let [height, width] = self.size;
        let resize = [image.height(), image.width()] != self.size;
        Ok(match self.channels {
            Channels::Grey if resize => {
                imageops::resize(&image.into_luma8(), width, height, FilterType::Triangle)
                    .into_raw()
            }
            Channels::Grey => image.into_luma8().into_raw(),
            Channels::Rgb if resize => {
                imageops::resize(&image.into_rgb8(), width, height, FilterType::Triangle).into_raw()
            }
            Channels::Rgb => image.into_rgb8().into_raw(),
        })
    }
}

impl Examples for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn dim(&self) -> usize {
        self.shape().iter().product()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        each_row(indices, out, self.dim(), 1, |index, row| {
            for (value, byte) in row.iter_mut().zip(self.decode(&self.files[index])?) {
                *value = f32::from(byte) / 255.0;
            }
            Ok(())
        })
    }

    fn protocol(&self) -> Protocol {
        Protocol::Grey
    }
}

fn check_size(height: u32, width: u32, channels: Channels) -> Result<()> {
    let sides = 1..=MAX_SIDE;
    let bytes = (u64::from(height) * u64::from(width)).saturating_mul(channels.count() as u64);
    if sides.contains(&height) && sides.contains(&width) && bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::config(format!(
        "height {height} and width {width} are configured, but each must be from 1 to {MAX_SIDE}, \
         and an image may have at most {MAX_BYTES} bytes"
    )))
}

type Found = (Vec<PathBuf>, Option<Arc<[u8]>>, Vec<String>);

/// Finds the images of a folder, their labels and the names of the classes.
fn find(dir: &Path) -> Result<Found> {
    let (files, folders) = list(dir)?;
    let mut classes = Vec::new();
    for folder in folders {
        let mut files = Vec::new();
        collect(&folder, &mut files, 1)?;
        files.sort();
        classes.push((folder, files));
    }
    let in_class = classes.iter().find_map(|(_, files)| files.first());
    match (files.first(), in_class) {
        (None, None) => Err(Error::data(dir, "there is no image in this folder or below it")),
        (Some(_), None) => Ok((files, None, Vec::new())),
        (Some(one), Some(other)) => Err(Error::data(
            dir,
            format!(
                "some images lie in the folder itself, such as {}, and some in its sub-folders, \
                 such as {}; sub-folders are classes, so put either all images in them or none",
                one.strip_prefix(dir).unwrap_or(one).display(),
                other.strip_prefix(dir).unwrap_or(other).display(),
            ),
        )),
        (None, Some(_)) => {
            if classes.len() > 256 {
                let found = classes.len();
                let message =
                    format!("there are {found} sub-folders, but at most 256 classes are supported");
                return Err(Error::data(dir, message));
            }
            let (mut files, mut labels, mut names) = (Vec::new(), Vec::new(), Vec::new());
            for (label, (folder, of_class)) in (0..=u8::MAX).zip(classes) {
                if of_class.is_empty() {
                    let message = "this class has no image, but others do";
                    return Err(Error::data(&folder, message));
                }
                labels.resize(labels.len() + of_class.len(), label);
                files.extend(of_class);
                let name = folder.file_name().unwrap_or_default();
                names.push(name.to_string_lossy().into_owned());
            }
            Ok((files, Some(labels.into()), names))
        }
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::data(
            dir,
            format!("folders are nested more than {MAX_DEPTH} deep; does a link lead back up?"),
        ));
    }
    let (found, folders) = list(dir)?;
    files.extend(found);
    folders.iter().try_for_each(|folder| collect(folder, files, depth + 1))
}

/// Lists the images and the sub-folders of a folder, each sorted.
fn list(dir: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if is_image(&path)? {
            files.push(path);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}
