use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, anchored, font};
use crate::error::{Error, ErrorKind, Result};

/// The "muted" palette of Tol (2021) with its grey replaced by near-black: ten colours that are
/// distinguishable with every form of colour vision. From the eleventh class on, the colours
/// repeat.
const PALETTE: [RGBColor; 10] = [
    RGBColor(0xcc, 0x66, 0x77),
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0xdd, 0xcc, 0x77),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0x88, 0xcc, 0xee),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x44, 0xaa, 0x99),
    RGBColor(0x99, 0x99, 0x33),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0x22, 0x22, 0x22),
];

/// A scatter plot of points coloured by class, with a legend, and with each class written at the
/// median of its points.
///
/// ```no_run
/// # let (points, labels) = ([[0.0, 1.0]], [7]);
/// use burn_vae::viz::Scatter;
///
/// Scatter::new(&points, &labels)?.with_axes(["t-SNE 1", "t-SNE 2"]).save("tsne.png")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct Scatter<'a> {
    points: &'a [[f32; 2]],
    labels: &'a [u8],
    axes: [String; 2],
}

/// Plots points coloured by class on the axes `z₁` and `z₂`; a shorthand for [`Scatter`].
///
/// # Errors
/// If there are no points, the number of labels is not the number of points, a coordinate is not
/// finite, or the file cannot be written.
pub fn scatter(points: &[[f32; 2]], labels: &[u8], path: impl AsRef<Path>) -> Result<()> {
    Scatter::new(points, labels)?.save(path)
}

impl<'a> Scatter<'a> {
    /// Creates a plot of points and their labels, on the axes `z₁` and `z₂`.
    ///
    /// # Errors
    /// If there are no points, the number of labels is not the number of points, or a coordinate is
    /// not finite.
    pub fn new(points: &'a [[f32; 2]], labels: &'a [u8]) -> Result<Self> {
        if points.is_empty() || points.len() != labels.len() {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("{} points with {} labels cannot be drawn", points.len(), labels.len()),
            ));
        }
        if let Some(i) = points.iter().position(|point| !point.iter().all(|z| z.is_finite())) {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("point {i} is {:?} and cannot be drawn", points[i]),
            ));
        }
        Ok(Self { points, labels, axes: ["z₁", "z₂"].map(String::from) })
    }

    /// Sets the titles of the horizontal and the vertical axis, such as the
    /// [`titles`](crate::latent::Pca::titles) of principal components.
    pub fn with_axes(mut self, titles: [impl Into<String>; 2]) -> Self {
        self.axes = titles.map(Into::into);
        self
    }

    /// Writes a PNG file; its folder is created if necessary.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let &Self { points, labels, ref axes } = self;
        let range = |axis: usize| {
            let values = points.iter().map(|point| f64::from(point[axis]));
            let low = values.clone().fold(f64::INFINITY, f64::min);
            let high = values.fold(f64::NEG_INFINITY, f64::max);
            let margin = 0.04 * (high - low).max(0.1);
            low - margin..high + margin
        };
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();

        let mut canvas = Canvas::new(1000, 860);
        canvas.draw(|sheet| {
            let (sheet, legend) = sheet.split_horizontally(900);
            let mut chart = ChartBuilder::on(&sheet)
                .margin(20)
                .x_label_area_size(50)
                .y_label_area_size(65)
                .build_cartesian_2d(range(0), range(1))?;
            chart
                .configure_mesh()
                .x_desc(&axes[0])
                .y_desc(&axes[1])
                .axis_desc_style(font(22))
                .label_style(font(17))
                .light_line_style(WHITE)
                .draw()?;
            // In the order of the data, so that no class hides the others.
            chart.draw_series(points.iter().zip(labels).map(|(point, &label)| {
                Circle::new(
                    (f64::from(point[0]), f64::from(point[1])),
                    2,
                    colour(label).mix(0.55).filled(),
                )
            }))?;
            for &class in &classes {
                let of_class = || points.iter().zip(labels).filter(|(_, label)| **label == class);
                let centre =
                    [0, 1].map(|axis| median(of_class().map(|(point, _)| point[axis]).collect()));
                let (x, y) = chart.backend_coord(&(f64::from(centre[0]), f64::from(centre[1])));
                let style = anchored(26, HPos::Center, VPos::Center);
                for (dx, dy) in
                    [(-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (-1, 1), (1, -1), (1, 1)]
                {
                    sheet.draw_text(&class.to_string(), &style.color(&WHITE), (x + dx, y + dy))?;
                }
                sheet.draw_text(&class.to_string(), &style, (x, y))?;
            }
            legend.draw_text("class", &font(18), (8, 26))?;
            for (i, &class) in classes.iter().enumerate() {
                let y = 64 + 28 * i as i32;
                legend.draw(&Circle::new((18, y), 7, colour(class).filled()))?;
                let style = anchored(18, HPos::Left, VPos::Center);
                legend.draw_text(&class.to_string(), &style, (36, y))?;
            }
            Ok(())
        })?;
        canvas.save(path.as_ref())
    }
}

fn colour(class: u8) -> RGBColor {
    PALETTE[usize::from(class) % PALETTE.len()]
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}
