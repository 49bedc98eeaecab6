use std::path::Path;

use burn::tensor::Tensor;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{FontTransform, TextStyle};

use super::canvas::{Canvas, anchored};
use crate::error::{Error, ErrorKind, Result};

/// A grid of images, with labels for its rows and columns.
///
/// ```no_run
/// # use burn::tensor::Device;
/// # use burn_vae::{MlpVaeConfig, ModuleConfig, Seed};
/// use burn_vae::viz::ImageGrid;
///
/// # let vae = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex())?;
/// ImageGrid::new(vae.sample(100, 0)?, [28, 28, 1], 10)?.save("samples.png")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct ImageGrid {
    values: Vec<f32>,
    shape: [usize; 3],
    columns: usize,
    column_labels: Labels,
    row_labels: Labels,
}

#[derive(Default)]
struct Labels {
    title: String,
    texts: Vec<String>,
}

/// White space between the images.
const GAP: usize = 1;
const TEXT: u32 = 16;
/// Maximum number of pixels; a larger picture is a mistake.
const MAX_PIXELS: usize = 100_000_000;

impl ImageGrid {
    /// Arranges images row by row, with `columns` images in a row.
    ///
    /// # Shapes
    /// `images` is `[n, height * width * channels]`, with values from 0 (black) to 1; values
    /// outside are clamped. `shape` is height, width and channels. One channel is drawn in grey and
    /// three as red, green and blue; with any other number, each channel is drawn in grey, side by
    /// side.
    ///
    /// # Errors
    /// If the shapes do not match, the images do not fill whole rows, a value is NaN, or the
    /// picture would have more than a hundred million pixels.
    pub fn new(images: Tensor<2>, shape: [usize; 3], columns: usize) -> Result<Self> {
        let [n, dim] = images.dims();
        let [height, width, channels] = shape;
        let size = height.checked_mul(width).and_then(|size| size.checked_mul(channels));
        if size != Some(dim) || dim == 0 {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("rows of {dim} values are not images of shape {shape:?}"),
            ));
        }
        if columns == 0 || n == 0 || n % columns != 0 {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("{n} images do not fill rows of {columns}"),
            ));
        }
        let shape = match channels {
            1 | 3 => shape,
            _ => [height, width * channels, 1],
        };
        let [cell_width, cell_height] = cell(shape);
        if n.saturating_mul(cell_width).saturating_mul(cell_height) > MAX_PIXELS {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("{n} images of shape {shape:?} are too many for one picture"),
            ));
        }
        let mut values = images.into_data().iter::<f32>().collect::<Vec<_>>();
        if let Some(i) = values.iter().position(|value| value.is_nan()) {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("image {}, counted from 0, holds NaN", i / dim),
            ));
        }
        if shape[2] != channels {
            // From channels within a pixel to channels side by side, row by row.
            let rows = values.chunks_exact(width * channels);
            let side_by_side = |row: &[f32]| {
                let channel = |c: usize| row[c..].iter().step_by(channels).copied();
                (0..channels).flat_map(channel).collect::<Vec<_>>()
            };
            values = rows.flat_map(side_by_side).collect();
        }
        let (column_labels, row_labels) = Default::default();
        Ok(Self { values, shape, columns, column_labels, row_labels })
    }

    /// Labels the columns, below the grid, with a title such as `z₁`.
    pub fn with_columns<T: ToString>(
        mut self,
        title: &str,
        labels: impl IntoIterator<Item = T>,
    ) -> Self {
        self.column_labels = Labels::new(title, labels);
        self
    }

    /// Labels the rows, to the left of the grid and from the top, with a title such as `z₂`.
    pub fn with_rows<T: ToString>(
        mut self,
        title: &str,
        labels: impl IntoIterator<Item = T>,
    ) -> Self {
        self.row_labels = Labels::new(title, labels);
        self
    }

    /// Writes a PNG file; its folder is created if necessary.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.draw()?.save(path.as_ref())
    }

    pub(super) fn draw(&self) -> Result<Canvas> {
        let [height, width, channels] = self.shape;
        let rows = self.values.len() / (height * width * channels) / self.columns;
        let scale = scale(self.shape);
        let [cell_w, cell_h] = cell(self.shape);
        let left = self.row_labels.margin(self.row_labels.width());
        let upright = self.column_labels.width() <= cell_w;
        let bottom = match upright {
            true => self.column_labels.margin(TEXT as usize),
            false => self.column_labels.margin(self.column_labels.width()),
        };
        let (grid_w, grid_h) = (self.columns * cell_w - GAP, rows * cell_h - GAP);
        let pad = 12;
        let mut canvas =
            Canvas::new((left + grid_w + 2 * pad) as u32, (grid_h + bottom + 2 * pad) as u32);

        let pixels = canvas.pixels();
        for (i, image) in self.values.chunks_exact(height * width * channels).enumerate() {
            let x0 = left + pad + i % self.columns * cell_w;
            let y0 = pad + i / self.columns * cell_h;
            let cell = RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let at = (y as usize * width + x as usize) * channels;
                let value = |c: usize| (image[at + c].clamp(0.0, 1.0) * 255.0).round() as u8;
                Rgb(if channels == 1 { [value(0); 3] } else { [0, 1, 2].map(value) })
            });
            let (w, h) = ((width * scale) as u32, (height * scale) as u32);
            let cell = imageops::resize(&cell, w, h, FilterType::Nearest);
            imageops::replace(pixels, &cell, x0 as i64, y0 as i64);
        }

        let centre = |i: usize, cell: usize| (pad + i * cell + (cell - GAP) / 2) as i32;
        canvas.draw(|sheet| {
            let right = anchored(TEXT, HPos::Right, VPos::Center);
            for (i, text) in self.row_labels.texts.iter().enumerate() {
                sheet.draw_text(text, &right, ((left + pad - 8) as i32, centre(i, cell_h)))?;
            }
            let top = (pad + grid_h + 8) as i32;
            let slanted: TextStyle =
                anchored(TEXT, HPos::Right, VPos::Center).transform(FontTransform::Rotate270);
            for (i, text) in self.column_labels.texts.iter().enumerate() {
                let x = left as i32 + centre(i, cell_w);
                match upright {
                    true => {
                        sheet.draw_text(text, &anchored(TEXT, HPos::Center, VPos::Top), (x, top))?
                    }
                    false => sheet.draw_text(text, &slanted, (x, top))?,
                }
            }
            let title = TEXT + 6;
            let (middle_x, middle_y) = (left + pad + grid_w / 2, pad + grid_h / 2);
            sheet.draw_text(
                &self.column_labels.title,
                &anchored(title, HPos::Center, VPos::Bottom),
                (middle_x as i32, (grid_h + bottom + 2 * pad - 4) as i32),
            )?;
            sheet.draw_text(
                &self.row_labels.title,
                &anchored(title, HPos::Left, VPos::Center),
                (6, middle_y as i32),
            )?;
            Ok(())
        })?;
        Ok(canvas)
    }
}

/// Integer factor that enlarges small images to a readable size.
fn scale([height, width, _]: [usize; 3]) -> usize {
    (64 / height.max(width)).clamp(1, 8)
}

/// Width and height of an image in the picture, with the gap beside it.
fn cell(shape: [usize; 3]) -> [usize; 2] {
    [shape[1], shape[0]].map(|side| side * scale(shape) + GAP)
}

impl Labels {
    fn new<T: ToString>(title: &str, labels: impl IntoIterator<Item = T>) -> Self {
        let texts = labels.into_iter().map(|label| label.to_string()).collect();
        Self { title: title.into(), texts }
    }

    /// Approximate width of the longest label in pixels, rounded up.
    fn width(&self) -> usize {
        let longest = self.texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        longest * TEXT as usize * 2 / 3
    }

    /// Space for the labels, which take `size` themselves, and their title.
    fn margin(&self, size: usize) -> usize {
        let title = if self.title.is_empty() { 0 } else { 30 };
        if self.texts.is_empty() { title } else { size + 12 + title }
    }
}
