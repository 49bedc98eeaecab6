use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Canvas, anchored, font, legend};
use crate::error::{Error, ErrorKind, Result};

/// A bar chart with one bar per latent dimension, for example of KL divergences, or per code.
///
/// ```no_run
/// use burn_vae::viz::Bars;
///
/// let (kl, active) = ([0.01, 3.2, 1.7], [false, true, true]);
/// Bars::new("KL (nats)", &kl)?.with_active(&active)?.sorted().save("kl.png")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
pub struct Bars {
    title: String,
    numbered: String,
    bars: Vec<Bar>,
    marked: bool,
}

struct Bar {
    dim: usize,
    value: f64,
    active: bool,
}

/// The blue of the palette of Okabe and Ito.
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// Values beyond this cannot be marked on an axis.
const MAX: f64 = 1e300;
/// Maximum number of digits of all labels that fit into a picture of this width.
const DIGITS: usize = 64;

impl Bars {
    /// Creates one bar per value, in order and numbered from 1. The title labels the vertical axis.
    ///
    /// # Errors
    /// If there are no values, or one is not finite or beyond `1e300`.
    pub fn new(title: &str, values: &[f64]) -> Result<Self> {
        if values.is_empty() {
            return Err(Error::new(ErrorKind::Picture, "there is no latent dimension to draw"));
        }
        if let Some(i) = values.iter().position(|value| !value.is_finite() || value.abs() > MAX) {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("dimension {} has the value {} and cannot be drawn", i + 1, values[i]),
            ));
        }
        let bar = |(i, &value): (usize, &f64)| Bar { dim: i + 1, value, active: true };
        let bars = values.iter().enumerate().map(bar).collect();
        Ok(Self { title: title.into(), numbered: "latent dimension".into(), bars, marked: false })
    }

    /// Fills the bars of active dimensions, leaves the others hollow, and adds a legend with the
    /// number of each. By the usual definition a dimension is active if its posterior mean varies
    /// over the data by more than 0.01 (Burda et al. 2016, section 5.2).
    ///
    /// Flags are in the order of the dimensions, also after sorting.
    ///
    /// # Errors
    /// If the number of flags is not the number of values.
    pub fn with_active(mut self, active: &[bool]) -> Result<Self> {
        if active.len() != self.bars.len() {
            return Err(Error::new(
                ErrorKind::Picture,
                format!("there are {} bars, but {} active flags", self.bars.len(), active.len()),
            ));
        }
        for bar in &mut self.bars {
            bar.active = active[bar.dim - 1];
        }
        self.marked = true;
        Ok(self)
    }

    /// Sets what the numbers of the bars count; the default is "latent dimension".
    pub fn numbered(mut self, what: impl Into<String>) -> Self {
        self.numbered = what.into();
        self
    }

    /// Sorts the bars by falling value; each bar keeps the number of its dimension.
    pub fn sorted(mut self) -> Self {
        self.bars.sort_by(|a, b| b.value.total_cmp(&a.value));
        self
    }

    /// Writes a PNG file; its folder is created if necessary.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let values = self.bars.iter().map(|bar| bar.value);
        let (low, high) =
            values.fold((0.0_f64, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let range = (high - low).max(0.01);
        // Leave room for the legend at the top.
        let high = high + range * if self.marked { 0.25 } else { 0.08 };
        let low = if low < 0.0 { low - 0.08 * range } else { 0.0 };
        let n = self.bars.len();
        let digits = n.to_string().len();
        let every = (n * digits).div_ceil(DIGITS);

        let mut canvas = Canvas::new(900, 560);
        canvas.draw(|sheet| {
            let mut chart = ChartBuilder::on(sheet)
                .margin(20)
                .x_label_area_size(60)
                .y_label_area_size(75)
                .build_cartesian_2d(0.0..n as f64, low..high)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .x_labels(0)
                .x_desc(&self.numbered)
                .y_desc(&self.title)
                .axis_desc_style(font(20))
                .label_style(font(17))
                .light_line_style(WHITE)
                .draw()?;
            for active in [true, false] {
                let style = if active { BLUE.filled() } else { BLUE.stroke_width(1) };
                let of = self.bars.iter().enumerate().filter(|(_, bar)| bar.active == active);
                let drawn = chart.draw_series(of.map(|(i, bar)| {
                    let (left, right) = (i as f64 + 0.15, i as f64 + 0.85);
                    Rectangle::new([(left, 0.0), (right, bar.value)], style)
                }))?;
                if self.marked {
                    let count = self.bars.iter().filter(|bar| bar.active == active).count();
                    let name = if active { "active" } else { "inactive" };
                    drawn.label(format!("{name}: {count}")).legend(move |(x, y)| {
                        Rectangle::new([(x - 6, y - 6), (x + 6, y + 6)], style)
                    });
                }
            }
            for (i, bar) in self.bars.iter().enumerate().step_by(every) {
                let (x, y) = chart.backend_coord(&(i as f64 + 0.5, low));
                let style = anchored(17, HPos::Center, VPos::Top);
                sheet.draw_text(&bar.dim.to_string(), &style, (x, y + 8))?;
            }
            if self.marked {
                legend(&mut chart, SeriesLabelPosition::UpperRight)?;
            }
            Ok(())
        })?;
        canvas.save(path.as_ref())
    }
}
