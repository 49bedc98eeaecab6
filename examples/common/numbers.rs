//! Numbers of the command line: a bad one is refused, with its option, before anything is read or trained.

#![allow(dead_code, reason = "not every example has numbers of each kind")]

use clap::builder::RangedU64ValueParser;

/// From 1 to so many.
pub fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// At least one, and no more than a memory holds.
pub fn count() -> RangedU64ValueParser<usize> {
    up_to(1 << 30)
}

/// A number above 0 that a 32-bit float holds.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= f64::from(f32::MAX) => Ok(value),
        Ok(value) => Err(format!("{value:e} does not lie above 0 and below 3.4e38")),
        Err(error) => Err(error.to_string()),
    }
}
