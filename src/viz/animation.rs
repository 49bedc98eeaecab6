use std::path::Path;
use std::time::Duration;

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbImage};

use super::ImageGrid;
use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomically;

/// Image grids as a looping GIF, such as a model's samples during training.
///
/// ```no_run
/// # use burn_vae::{MlpVae, Result, data::Examples, train::Trainer};
/// # use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use burn_vae::viz::{Animation, ImageGrid};
///
/// # fn run(trainer: Trainer, vae: MlpVae, train: Arc<dyn Examples>, valid: Arc<dyn Examples>) -> Result<()> {
/// let frames = Arc::new(Mutex::new(Animation::new(Duration::from_millis(200))?));
/// let shown = frames.clone();
/// trainer.fit_observed(vae, train, valid, move |_, vae| {
///     let grid = ImageGrid::new(vae.sample(100, 0)?, [28, 28, 1], 10)?;
///     shown.lock().unwrap().add(&grid)
/// })?;
/// frames.lock().unwrap().save("training.gif")?;
/// # Ok(())
/// # }
/// ```
pub struct Animation {
    delay: Duration,
    frames: Vec<RgbImage>,
}

/// The last picture stays for this many delays.
const LAST: u32 = 8;

impl Animation {
    /// Creates an animation that shows each picture for `delay`, the last one eight times as long.
    ///
    /// # Errors
    /// If `delay` is not from 10 ms to 60 s.
    pub fn new(delay: Duration) -> Result<Self> {
        if !(Duration::from_millis(10)..=Duration::from_secs(60)).contains(&delay) {
            return Err(Error::value(format!(
                "the delay is {delay:?}, but it must be from 10 ms to 60 s"
            )));
        }
        Ok(Self { delay, frames: Vec::new() })
    }

    /// Adds a picture. Grey images keep their values; more than 256 colours are reduced.
    ///
    /// # Errors
    /// If its size differs from that of the first.
    pub fn add(&mut self, grid: &ImageGrid) -> Result<()> {
        let frame = grid.draw()?.into_pixels();
        if let Some(first) = self.frames.first().filter(|f| f.dimensions() != frame.dimensions()) {
            return Err(Error::new(
                ErrorKind::Picture,
                format!(
                    "a picture of {:?} pixels does not fit an animation of {:?}",
                    frame.dimensions(),
                    first.dimensions()
                ),
            ));
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Returns the number of pictures.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns whether there are no pictures.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes a GIF file; its folder is created if necessary.
    ///
    /// # Errors
    /// If there are no pictures, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if self.frames.is_empty() {
            return Err(Error::new(ErrorKind::Picture, "an animation needs at least 1 picture"));
        }
        let mut gif = Vec::new();
        let encode = |gif: &mut Vec<u8>| {
            let mut encoder = GifEncoder::new(gif);
            encoder.set_repeat(Repeat::Infinite)?;
            for (i, frame) in self.frames.iter().enumerate() {
                let turns = if i + 1 == self.frames.len() { LAST } else { 1 };
                let delay = Delay::from_saturating_duration(self.delay * turns);
                let frame = DynamicImage::ImageRgb8(frame.clone()).into_rgba8();
                encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay))?;
            }
            Ok(())
        };
        encode(&mut gif).map_err(|error: image::ImageError| {
            Error::new(ErrorKind::Picture, format!("{}: {error}", path.display()))
                .with_source(error)
        })?;
        write_atomically(path, &gif)
    }
}
