use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::imageops::{self, FilterType};
use serde::{Deserialize, Serialize};

use super::decode::{self, MAX_BYTES, MAX_SIDE, check_opaque, is_image};
use super::each::each_row;
use super::{ByteImages, Examples, Protocol};
use crate::error::{At, Error, ErrorKind, Result};

/// Images in files, decoded as they are needed, by all threads.
///
/// Either the images lie in the folder itself, and have no labels; or they lie in its sub-folders,
/// at any depth, and the sub-folder is the class of its images. Classes are numbered from 0 in the
/// order of their names, images follow each other in the order of their paths; both orders are those
/// of the bytes, the same on every machine.
///
/// PNG, JPEG, BMP, GIF, PNM and WebP are read, by the extensions `.png`, `.apng`, `.jpg`, `.jpeg`, `.jpe`,
/// `.jif`, `.jfif`, `.pjpeg`, `.pjp`, `.bmp`, `.dib`, `.gif`, `.pbm`, `.pgm`, `.ppm`, `.pnm`, `.pam` and `.webp`
/// in any case. A file with the extension of another image format, such as `.tiff`, `.heic`, `.svg` or the raw
/// format of a camera, is an error. Hidden files and folders, whose name begins with a dot, are ignored, and so
/// are files of all other extensions. Links are followed; what is no regular file, such as a pipe, is an error.
///
/// A JPEG that is cut short is an error, as in every other format, and so is one without the marker at its end;
/// what follows that marker, as in photographs of many telephones, is not looked at. Within a JPEG there are no
/// checksums: damage there may go unnoticed.
///
/// | an image | becomes |
/// |---|---|
/// | in colour, as grey | 0.2126 red + 0.7152 green + 0.0722 blue, rounded down |
/// | in grey, as colour | three equal channels |
/// | of 16 bits a value | 8 bits a value, rounded |
/// | with an alpha channel | what it shows where it is opaque; a pixel that is not is an error, since nothing says what lies behind it |
/// | with several frames | the first of them |
/// | with an orientation in its metadata (EXIF), as of photographs | upright; its size is that after it was turned |
/// | with a colour profile | the pixels as they are stored |
///
/// A value `b` of 0 to 255 becomes the number `b / 255`.
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

/// The channels that images are read with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// One: luminance.
    Grey,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// How images of several sizes become images of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// They do not: an image of another size than the first is an error.
    Reject,
    /// They do not: an image of another size than this is an error.
    Exact {
        /// Rows of pixels.
        height: u32,
        /// Columns of pixels.
        width: u32,
    },
    /// The whole image is scaled to this size, whatever that does to its proportions, with a
    /// triangle filter: linear interpolation, which when an image shrinks is widened so that every
    /// pixel counts.
    Resize {
        /// Rows of pixels.
        height: u32,
        /// Columns of pixels.
        width: u32,
    },
}

/// Folders nested deeper are links that lead in circles.
const MAX_DEPTH: usize = 16;

impl ImageFolder {
    /// Lists the images of a folder and reads the header of each.
    ///
    /// Images with an alpha channel are also decoded, to see that they are opaque.
    ///
    /// # Errors
    /// If there is no image; if there are images both in the folder and in its sub-folders; if a
    /// sub-folder holds none while others do, or if there are more than 256 of them; if a file is
    /// not an image, is not opaque, has the wrong size or is absurdly large. The message names the
    /// file.
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
    /// If a file is not an image, or has changed its size since the folder was opened. The message
    /// names the file.
    pub fn load(&self) -> Result<ByteImages> {
        let bytes = self.files.len().saturating_mul(self.dim());
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(bytes).map_err(|_| {
            Error::new(
                ErrorKind::Data,
                format!("{} images need {bytes} bytes, more than there are", self.files.len()),
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

    /// The file of each image.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The class of each image, if they lie in sub-folders.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The names of the classes, by number; none if the images have no labels.
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
        "images are to have height {height} and width {width}, but both must be at least 1 and at \
         most {MAX_SIDE}, and an image at most {MAX_BYTES} bytes"
    )))
}

type Found = (Vec<PathBuf>, Option<Arc<[u8]>>, Vec<String>);

/// The images of a folder with their labels and the names of the classes.
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
                 such as {}; sub-folders are classes, so that it is either all or none",
                one.strip_prefix(dir).unwrap_or(one).display(),
                other.strip_prefix(dir).unwrap_or(other).display(),
            ),
        )),
        (None, Some(_)) => {
            if classes.len() > 256 {
                let found = classes.len();
                let message = format!("there are {found} sub-folders, but at most 256 classes");
                return Err(Error::data(dir, message));
            }
            let (mut files, mut labels, mut names) = (Vec::new(), Vec::new(), Vec::new());
            for (label, (folder, of_class)) in (0..=u8::MAX).zip(classes) {
                if of_class.is_empty() {
                    let message = "there is no image of this class, while others have some";
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

/// The images and the folders in a folder, each sorted.
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
