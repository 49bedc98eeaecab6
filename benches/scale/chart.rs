use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::register_font;

use super::Axis;
use super::workload::Measured;

/// Blue and vermilion of the palette of Okabe and Ito, distinguishable with every form of colour
/// vision.
const COLOURS: [RGBColor; 2] = [RGBColor(0x00, 0x72, 0xb2), RGBColor(0xd5, 0x5e, 0x00)];
const FONT: &str = "DejaVu Sans";
const SIZE: (u32, u32) = (1100, 460);

/// Draws time on the left and memory on the right, with logarithmic axes.
pub fn draw(axis: &Axis, series: &[Vec<(usize, Measured)>]) {
    let font = include_bytes!("../../src/viz/DejaVuSans-subset.ttf");
    let _ = register_font(FONT, FontStyle::Normal, font);
    let mut pixels = image::RgbImage::from_pixel(SIZE.0, SIZE.1, image::Rgb([255; 3]));
    {
        let sheet = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        let (left, right) = sheet.split_horizontally(SIZE.0 / 2);
        panel(&left, axis, "time (ms)", series, |measured| measured.milliseconds);
        panel(&right, axis, "peak memory (MB)", series, |measured| measured.megabytes);
        sheet.present().expect("pixels in memory");
    }
    let name = format!("docs/img/scale_{}.png", axis.name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    pixels.save(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("drew {name}");
}

fn panel(
    sheet: &DrawingArea<BitMapBackend, plotters::coord::Shift>,
    axis: &Axis,
    quantity: &str,
    series: &[Vec<(usize, Measured)>],
    value: fn(&Measured) -> f64,
) {
    let points = |line: &[(usize, Measured)]| {
        line.iter().map(|(size, measured)| (*size as f64, value(measured))).collect::<Vec<_>>()
    };
    let lines = series.iter().map(|line| points(line)).collect::<Vec<_>>();
    let x = range(lines.iter().flatten().map(|point| point.0));
    let y = range(lines.iter().flatten().map(|point| point.1));
    let font = |size| (FONT, size).into_font();
    let mut chart = ChartBuilder::on(sheet)
        .margin(15)
        .margin_right(25)
        .x_label_area_size(48)
        .y_label_area_size(75)
        .build_cartesian_2d(x.log_scale(), y.log_scale())
        .expect("pixels in memory");
    let number = |value: &f64| format!("{}", (value * 1e6).round() / 1e6);
    chart
        .configure_mesh()
        .x_desc(axis.title)
        .y_desc(quantity)
        .x_labels(6)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .axis_desc_style(font(18))
        .label_style(font(15))
        .light_line_style(WHITE)
        .draw()
        .expect("pixels in memory");
    for ((line, points), colour) in axis.lines.iter().zip(&lines).zip(COLOURS) {
        // Filled and hollow points, so that the colours are not needed to tell the lines apart.
        let (fill, key) = if colour == COLOURS[0] {
            (colour.filled(), colour.filled())
        } else {
            (WHITE.filled(), colour.stroke_width(2))
        };
        let circles = |style: ShapeStyle| points.iter().map(move |&at| Circle::new(at, 4, style));
        let path = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart.draw_series(path).expect("pixels in memory");
        chart.draw_series(circles(fill)).expect("pixels in memory");
        chart
            .draw_series(circles(colour.stroke_width(2)))
            .expect("pixels in memory")
            .label(line.name)
            .legend(move |at| Circle::new(at, 5, key));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(font(15))
        .draw()
        .expect("pixels in memory");
}

/// The range of the values, with some margin.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    low / 1.4..high * 1.4
}
