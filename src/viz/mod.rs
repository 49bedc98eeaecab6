//! Pictures of a model and its training.
//!
//! A copy of DejaVu Sans is compiled in, so pictures are the same on a machine without fonts.

mod animation;
mod bars;
mod canvas;
mod curves;
mod grid;
mod roc;
mod scatter;

pub use animation::Animation;
pub use bars::Bars;
pub use curves::curves;
pub use grid::ImageGrid;
pub use roc::roc;
pub use scatter::{Scatter, scatter};
