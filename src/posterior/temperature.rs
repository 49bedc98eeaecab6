use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::phase::Phase;

/// The temperature schedule of a relaxation in training.
///
/// | | temperature at step `t`, counted from 0 |
/// |---|---|
/// | [`constant`](Temperature::constant) | the given temperature |
/// | [`exponential`](Temperature::exponential) | `max(floor, start exp(-rate t))` (Jang et al. 2017, section 4.2) |
/// | [`every`](Temperature::every) `n` steps | the temperature at step `n floor(t / n)`, constant in between |
///
/// The lower the temperature, the closer the relaxed samples are to discrete ones, and the larger
/// the variance of the gradient.
///
/// 32-bit floats limit how low it can be. Where densities are compared
/// ([`MonteCarloKl`](crate::divergence::MonteCarloKl) and the importance-weighted bounds with a
/// relaxed prior), samples that are clamped next to 0 or 1 contribute the right value, but not the
/// derivative of their probability. The gradient is therefore right only while the logits of bits
/// stay well below `15 t` and the differences of a variable's logits well below `69 t`. At
/// `t = 1/2`, a logit of 6 loses 3 % of its gradient, one of 10 half of it. For lower temperatures
/// use [`KlDivergence`](crate::KlDivergence) or straight-through samples. Temperatures must be
/// between 1e-4 and 1e4, the range in which 32-bit floats have room for the samples.
///
/// ```
/// use burn_vae::posterior::Temperature;
///
/// let temperature = Temperature::exponential(1.0, 3e-5, 0.5)?.every(1000)?;
/// assert_eq!(temperature.at(999), 1.0);
/// assert_eq!(temperature.at(1000), (-0.03f64).exp());
/// assert_eq!(temperature.at(1_000_000), 0.5);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Schedule", into = "Schedule")]
pub struct Temperature(Schedule);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Schedule {
    Constant(f64),
    Exponential { start: f64, rate: f64, floor: f64, every: u64 },
}

impl Temperature {
    /// Keeps the same temperature in every step.
    ///
    /// # Errors
    /// If `temperature` is outside `[1e-4, 1e4]`.
    pub fn constant(temperature: f64) -> Result<Self> {
        Schedule::Constant(temperature).try_into()
    }

    /// Decays from `start` to `floor` by the factor `exp(-rate)` per step.
    ///
    /// # Errors
    /// If `start` or `floor` is outside `[1e-4, 1e4]`, if `floor` is above `start`, or if `rate` is
    /// negative or not finite.
    pub fn exponential(start: f64, rate: f64, floor: f64) -> Result<Self> {
        Schedule::Exponential { start, rate, floor, every: 1 }.try_into()
    }

    /// Updates the temperature only every `steps` steps; a constant is unaffected.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn every(self, steps: u64) -> Result<Self> {
        match self.0 {
            Schedule::Constant(_) if steps > 0 => Ok(self),
            Schedule::Constant(_) => Err(no_steps()),
            Schedule::Exponential { start, rate, floor, .. } => {
                Schedule::Exponential { start, rate, floor, every: steps }.try_into()
            }
        }
    }

    /// Returns the temperature at a step.
    pub fn at(&self, step: u64) -> f64 {
        match self.0 {
            Schedule::Constant(temperature) => temperature,
            Schedule::Exponential { start, rate, floor, every } => {
                floor.max(start * (-rate * (step / every * every) as f64).exp())
            }
        }
    }
}

impl TryFrom<Schedule> for Temperature {
    type Error = Error;

    fn try_from(schedule: Schedule) -> Result<Self> {
        match schedule {
            Schedule::Constant(temperature) => check("the temperature", temperature)?,
            Schedule::Exponential { start, rate, floor, every } => {
                check("the temperature's start", start)?;
                check("the temperature's floor", floor)?;
                if floor > start {
                    return Err(Error::config(format!(
                        "the temperature's floor is {floor}, but it must be at most the start, {start}"
                    )));
                }
                if !(rate >= 0.0 && rate.is_finite()) {
                    return Err(Error::config(format!(
                        "the temperature's rate is {rate}, but it must be finite and at least 0"
                    )));
                }
                if every == 0 {
                    return Err(no_steps());
                }
            }
        }
        Ok(Self(schedule))
    }
}

impl From<Temperature> for Schedule {
    fn from(temperature: Temperature) -> Self {
        temperature.0
    }
}

fn check(what: &str, temperature: f64) -> Result<()> {
    if (1e-4..=1e4).contains(&temperature) {
        return Ok(());
    }
    Err(Error::config(format!("{what} is {temperature}, but it must be between 1e-4 and 1e4")))
}

fn no_steps() -> Error {
    Error::config("the temperature changes every 0 steps, but the interval must be at least 1")
}

/// How a discrete distribution is sampled, which also determines its `log_prob`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sampling {
    /// Exact samples.
    Exact,
    /// Samples relaxed at a temperature.
    Relaxed(f64),
    /// Exact samples with the gradient of samples relaxed at a temperature.
    StraightThrough(f64),
}

impl Sampling {
    /// Returns how to sample a distribution that training relaxes at `temperature`, if any.
    pub(crate) fn of(
        temperature: Option<Temperature>,
        straight_through: bool,
        phase: Phase,
    ) -> Self {
        let Some(temperature) = temperature.zip(phase.step()).map(|(t, step)| t.at(step)) else {
            return Self::Exact;
        };
        match straight_through {
            true => Self::StraightThrough(temperature),
            false => Self::Relaxed(temperature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(temperature: f64) -> Temperature {
        Temperature::constant(temperature).unwrap()
    }

    #[test]
    fn temperatures_follow_the_step() {
        let falling = Temperature::exponential(1.0, 0.1, 0.5).unwrap();
        for (step, expected) in [(0, 1.0), (3, (-0.3f64).exp()), (6, (-0.6f64).exp()), (7, 0.5)] {
            assert_eq!(falling.at(step), expected);
        }
        assert_eq!(falling.at(u64::MAX), 0.5);
        let stepwise = falling.every(3).unwrap();
        assert_eq!([2, 3, 5].map(|s| stepwise.at(s)), [1.0, (-0.3f64).exp(), (-0.3f64).exp()]);
        assert_eq!(fixed(0.7).every(5).unwrap().at(1_000), 0.7);
        for temperature in [fixed(2.0 / 3.0), stepwise] {
            let json = serde_json::to_string(&temperature).unwrap();
            assert_eq!(serde_json::from_str::<Temperature>(&json).unwrap(), temperature);
        }
        let message = |error: Error| error.to_string();
        for t in [0.0, -1.0, 1e-5, 1e5, f64::NAN, f64::INFINITY] {
            assert!(message(Temperature::constant(t).unwrap_err()).contains(&format!("is {t}")));
            assert!(Temperature::exponential(t, 0.0, 0.5).is_err());
        }
        assert!(
            message(Temperature::exponential(0.5, 0.1, 1.0).unwrap_err()).contains("floor is 1")
        );
        assert!(
            message(Temperature::exponential(1.0, -0.1, 0.5).unwrap_err()).contains("rate is -0.1")
        );
        assert!(message(falling.every(0).unwrap_err()).contains("every 0 steps"));
        let bad = r#"{"exponential":{"start":0.5,"rate":0.1,"floor":1.0,"every":1}}"#;
        assert!(
            serde_json::from_str::<Temperature>(bad).unwrap_err().to_string().contains("floor")
        );
    }
}
