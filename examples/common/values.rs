//! Parsers of option values. Clap names the option of a bad value before anything is read.

use clap::builder::RangedU64ValueParser;

/// Accepts 1 to a maximum.
pub fn up_to(maximum: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=maximum)
}

/// Accepts 1 to 2^30.
pub fn count() -> RangedU64ValueParser<usize> {
    up_to(1 << 30)
}

/// Accepts a number above 0 as a 32-bit float.
pub fn positive(text: &str) -> Result<f64, String> {
    let value = non_negative(text)?;
    if value as f32 > 0.0 { Ok(value) } else { Err(format!("{text} is not above 0")) }
}

/// Accepts a number from 0 to the largest 32-bit float.
pub fn non_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value <= f64::from(f32::MAX) => Ok(value),
        Ok(_) => Err(format!("{text} is not between 0 and 3.4e38")),
        Err(error) => Err(error.to_string()),
    }
}

/// Parses the units of hidden layers, as in `512,256`, or `none`.
pub fn hidden(text: &str) -> Result<Hidden, String> {
    let units = text.split(',').map(str::trim).filter(|_| text != "none");
    let parse = |units: &str| match units.parse() {
        Ok(0) => Err("a layer of 0 units".into()),
        Ok(units) => Ok(units),
        Err(error) => Err(format!("{units}: {error}")),
    };
    Ok(Hidden(units.map(parse).collect::<Result<_, String>>()?))
}

/// Units of hidden layers, as one option value; clap would treat a plain vector as several.
#[derive(Clone, serde::Serialize)]
pub struct Hidden(pub Vec<usize>);

impl Hidden {
    /// Returns the units in the decoder's order.
    pub fn reversed(&self) -> Vec<usize> {
        self.0.iter().rev().copied().collect()
    }
}
