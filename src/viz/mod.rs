//! Pictures of a model and its training, as PNG files.
//!
//! Text is set in a copy of DejaVu Sans that is compiled in, so that pictures are the same on a
//! machine without fonts.

mod bars;
mod canvas;
mod curves;
mod grid;
mod scatter;

pub use bars::Bars;
pub use curves::curves;
pub use grid::ImageGrid;
pub use scatter::{Scatter, scatter};
