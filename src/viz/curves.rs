use std::path::Path;

use plotters::prelude::*;

use super::canvas::{Canvas, font, legend};
use crate::error::{Error, ErrorKind, Result};
use crate::train::History;

/// Blue and vermilion of the palette of Okabe and Ito, distinguishable with every form of colour
/// vision.
const TRAIN: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const VALID: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// Plots the NELBO of the training and validation sets against the epoch.
///
/// # Errors
/// If no epoch has finished, or if the file cannot be written.
pub fn curves(history: &History, path: impl AsRef<Path>) -> Result<()> {
    let series = |value: fn(&crate::train::Epoch) -> f64| {
        history.epochs.iter().map(move |epoch| (epoch.epoch as f64, value(epoch)))
    };
    let train = series(|epoch| epoch.train_nelbo).collect::<Vec<_>>();
    let valid = series(|epoch| epoch.valid_nelbo).collect::<Vec<_>>();
    let values = train.iter().chain(&valid).map(|point| point.1);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if !(low.is_finite() && high.is_finite()) {
        return Err(Error::new(ErrorKind::Picture, "there is no finished epoch to draw"));
    }
    let margin = 0.05 * (high - low).max(1.0);
    let last = train.last().map_or(1.0, |point| point.0);

    let mut canvas = Canvas::new(900, 560);
    canvas.draw(|sheet| {
        let mut chart = ChartBuilder::on(sheet)
            .margin(20)
            .margin_right(30)
            .x_label_area_size(50)
            .y_label_area_size(75)
            .build_cartesian_2d(0.0..last + 0.5, low - margin..high + margin)?;
        chart
            .configure_mesh()
            .x_desc("epoch")
            .y_desc("NELBO (nats per example)")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| ((y * 100.0).round() / 100.0).to_string())
            .x_labels(if last < 12.0 { last as usize + 1 } else { 11 })
            .axis_desc_style(font(20))
            .label_style(font(17))
            .light_line_style(WHITE)
            .draw()?;
        // Filled and hollow points, so that the colours are not needed to tell the lines apart.
        for (name, points, colour, fill, key) in [
            ("training", &train, TRAIN, TRAIN.filled(), TRAIN.filled()),
            ("validation", &valid, VALID, WHITE.filled(), VALID.stroke_width(2)),
        ] {
            let circles =
                |style: ShapeStyle| points.iter().map(move |&at| Circle::new(at, 4, style));
            chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            chart.draw_series(circles(fill))?;
            chart
                .draw_series(circles(colour.stroke_width(2)))?
                .label(name)
                .legend(move |at| Circle::new(at, 5, key));
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)?;
        Ok(())
    })?;
    canvas.save(path.as_ref())
}
