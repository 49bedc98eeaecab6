use std::path::Path;

use plotters::prelude::*;

use super::canvas::{Canvas, font, legend};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::Roc;

/// Colours of the palette of Okabe and Ito.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
];

/// Plots receiver operating characteristics, each with its name and the area under it.
///
/// # Errors
/// If there are none, or if the file cannot be written.
pub fn roc(curves: &[(&str, &Roc)], path: impl AsRef<Path>) -> Result<()> {
    if curves.is_empty() {
        return Err(Error::new(ErrorKind::Picture, "there are no ROC curves to draw"));
    }
    let mut canvas = Canvas::new(700, 680);
    canvas.draw(|sheet| {
        let mut chart = ChartBuilder::on(sheet)
            .margin(20)
            .x_label_area_size(50)
            .y_label_area_size(65)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
        chart
            .configure_mesh()
            .x_desc("false positive rate")
            .y_desc("true positive rate")
            .x_labels(6)
            .y_labels(6)
            .axis_desc_style(font(20))
            .label_style(font(17))
            .light_line_style(WHITE)
            .draw()?;
        // Chance level.
        chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.3)))?;
        for ((name, roc), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
            let points = roc.points().iter();
            let points = points.map(|point| (point.false_positive_rate, point.true_positive_rate));
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(format!("{name}: {:.3}", roc.auc()))
                .legend(move |(x, y)| PathElement::new([(x - 8, y), (x + 8, y)], style));
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)?;
        Ok(())
    })?;
    canvas.save(path.as_ref())
}
