use std::path::Path;
use std::sync::Once;

use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use plotters::coord::{CoordTranslate, Shift};
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, ErrorKind, Result};
use crate::files::write_atomically;

/// A white sheet to draw on.
pub(super) struct Canvas {
    pixels: RgbImage,
}

pub(super) type Sheet<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

const FONT: &str = "DejaVu Sans";

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self { pixels: RgbImage::from_pixel(width, height, image::Rgb([255; 3])) }
    }

    pub(super) fn pixels(&mut self) -> &mut RgbImage {
        &mut self.pixels
    }

    pub(super) fn into_pixels(self) -> RgbImage {
        self.pixels
    }

    /// Calls a function that draws charts and text.
    pub(super) fn draw(
        &mut self,
        draw: impl FnOnce(&Sheet) -> Result<(), Box<dyn std::error::Error>>,
    ) -> Result<()> {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            let font = include_bytes!("DejaVuSans-subset.ttf");
            // Only a damaged font can fail, and drawing any text then reports it.
            let _ = register_font(FONT, FontStyle::Normal, font);
        });
        let size = self.pixels.dimensions();
        let sheet = BitMapBackend::with_buffer(&mut self.pixels, size).into_drawing_area();
        draw(&sheet).and_then(|()| Ok(sheet.present()?)).map_err(|error| {
            Error::new(ErrorKind::Picture, format!("the picture could not be drawn: {error}"))
        })
    }

    /// Writes a PNG file; its folder is created if necessary.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let mut png = Vec::new();
        let encoder =
            PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive);
        self.pixels.write_with_encoder(encoder).map_err(|error| {
            Error::new(ErrorKind::Picture, format!("{}: {error}", path.display()))
                .with_source(error)
        })?;
        write_atomically(path, &png)
    }
}

/// Draws a legend of the chart's series in a corner that they leave free.
pub(super) fn legend<'a, DB: DrawingBackend + 'a, CT: CoordTranslate>(
    chart: &mut ChartContext<'a, DB, CT>,
    corner: SeriesLabelPosition,
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    chart
        .configure_series_labels()
        .position(corner)
        .margin(20)
        .legend_area_size(16)
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .label_font(font(18))
        .draw()
}

/// Black text, with the size in pixels.
pub(super) fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&BLACK)
}

/// Text anchored at a point of its bounding box.
pub(super) fn anchored(size: u32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    font(size).pos(Pos::new(horizontal, vertical))
}
