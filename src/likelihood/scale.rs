use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::config::ModuleConfig;
use crate::error::{Error, Result};
use crate::math::softplus;
use crate::nn::check_len;
use crate::seed::Seed;

/// The source of a [`Scale`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScaleSource {
    /// A constant.
    Fixed {
        /// The scale, above 0.
        value: f64,
    },
    /// One learned scalar.
    Learned {
        /// Initial scale, above 0.
        initial: f64,
    },
    /// One learned scalar per value of an example.
    LearnedPerValue {
        /// Initial scale, above 0.
        initial: f64,
        /// The length of an example.
        data_dim: usize,
    },
    /// The decoder outputs the logarithm of the scale of each value.
    Predicted,
}

/// Configuration of a [`Scale`].
///
/// | field | default | meaning |
/// |---|---|---|
/// | `source` | | source of the scale |
/// | `floor` | none | lower bound of a learned or predicted scale |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleConfig {
    /// Source of the scale.
    pub source: ScaleSource,
    /// Lower bound of a learned or predicted scale.
    #[serde(default)]
    pub floor: Option<f64>,
}

impl ScaleConfig {
    /// Describes a constant.
    pub fn fixed(value: f64) -> Self {
        ScaleSource::Fixed { value }.into()
    }

    /// Describes one learned scalar.
    pub fn learned(initial: f64) -> Self {
        ScaleSource::Learned { initial }.into()
    }

    /// Describes one learned scalar per value of an example.
    pub fn learned_per_value(initial: f64, data_dim: usize) -> Self {
        ScaleSource::LearnedPerValue { initial, data_dim }.into()
    }

    /// Describes a scale whose logarithm the decoder outputs for each value.
    pub fn predicted() -> Self {
        ScaleSource::Predicted.into()
    }

    /// Sets a soft lower bound for a learned or predicted scale: its logarithm `v` becomes
    /// `log(min) + softplus(v - log(min))`, whose gradient fades below the bound instead of
    /// stopping there, as that of a hard bound would. Without a floor the scale goes to zero if the
    /// data allow it, because a density is unbounded.
    pub fn with_floor(self, min: f64) -> Self {
        Self { floor: Some(min), ..self }
    }

    /// The parameter at which the scale is `initial`.
    fn raw(&self, initial: f64) -> Result<f32> {
        check_positive("the initial scale", initial)?;
        let Some(floor) = self.floor else { return Ok(initial.ln() as f32) };
        let above = initial.ln() - floor.ln();
        if above > 0.0 {
            // The inverse of softplus.
            return Ok((floor.ln() + above + (-(-above).exp_m1()).ln()) as f32);
        }
        Err(Error::config(format!(
            "the initial scale is {initial}, but it must be above the floor, {floor}"
        )))
    }
}

impl From<ScaleSource> for ScaleConfig {
    fn from(source: ScaleSource) -> Self {
        Self { source, floor: None }
    }
}

pub(super) fn check_positive(what: &str, value: f64) -> Result<()> {
    // Computations use 32-bit floats, in which the value must be neither 0 nor infinite.
    if value >= f64::from(f32::MIN_POSITIVE) && value <= f64::from(f32::MAX) {
        return Ok(());
    }
    Err(Error::config(format!("{what} is {value}, but it must be above 0 and finite")))
}

/// A positive parameter of a likelihood beside its first one: a standard deviation, a width or a
/// total count. It is stored as a logarithm.
///
/// It has one of four sources ([`ScaleSource`]): a constant, one learned scalar, one learned scalar
/// per value of an example, or the decoder. In the last case the decoder outputs two parameters per
/// value: the first half of its output holds the first parameter of every value, the second half
/// the log-scales.
///
/// A custom likelihood stores a `Scale` and calls [`params_per_value`](Self::params_per_value),
/// [`check`](Self::check) and [`split`](Self::split) in its `params_per_value`, `check` and `nll`.
/// It then supports all four sources.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::likelihood::Scale;
///
/// let params = Tensor::<2>::from_data([[1.0, 2.0, -1.0, 0.0]], &Device::flex());
/// let (mean, log_scale) = Scale::predicted().split(params);
/// assert_eq!(mean.into_data().try_to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// assert_eq!(log_scale.into_data().try_to_vec::<f32>().unwrap(), [-1.0, 0.0]);
/// ```
#[derive(Module, Debug)]
pub struct Scale {
    /// `[1]` or `[data_dim]`, before the floor is applied.
    log_scale: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: ScaleConfig,
}

impl Scale {
    /// Creates a constant scale.
    ///
    /// # Errors
    /// If `value` is not above 0 or not finite.
    pub fn fixed(value: f64) -> Result<Self> {
        check_positive("the fixed scale", value)?;
        Ok(Self { log_scale: None, config: ScaleConfig::fixed(value) })
    }

    /// Creates a scale that is one learned scalar.
    ///
    /// # Errors
    /// If `initial` is not above 0 or not finite.
    pub fn learned(initial: f64, device: &Device) -> Result<Self> {
        ScaleConfig::learned(initial).init(Seed::default(), device)
    }

    /// Creates a scale with one learned scalar per value of an example.
    ///
    /// # Errors
    /// If `initial` is not above 0 or not finite, or if `data_dim` is 0 or above 2^30.
    pub fn learned_per_value(initial: f64, data_dim: usize, device: &Device) -> Result<Self> {
        ScaleConfig::learned_per_value(initial, data_dim).init(Seed::default(), device)
    }

    /// Creates a scale whose logarithm the decoder outputs for each value.
    pub fn predicted() -> Self {
        Self { log_scale: None, config: ScaleConfig::predicted() }
    }

    /// Number of decoder outputs per value of an example: 2 with a predicted scale, otherwise 1.
    pub fn params_per_value(&self) -> usize {
        match self.config.source {
            ScaleSource::Predicted => 2,
            _ => 1,
        }
    }

    /// Checks that the scale fits examples with `data_dim` values.
    ///
    /// # Errors
    /// If the scale is learned per value for examples of a different length.
    pub fn check(&self, data_dim: usize) -> Result<()> {
        match self.config.source {
            ScaleSource::LearnedPerValue { data_dim: len, .. } if len != data_dim => {
                Err(Error::config(format!(
                    "the likelihood has a learned scale for each of {len} values, but an example \
                     has {data_dim}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Returns the logarithm of a scale that does not depend on the code: `[1]`, or `[data_dim]` if
    /// there is one per value. Returns `None` for a predicted scale.
    pub fn log_scale(&self, device: &Device) -> Option<Tensor<1>> {
        match self.config.source {
            ScaleSource::Fixed { value } => Some(Tensor::full([1], value.ln(), device)),
            _ => self.log_scale.as_ref().map(|param| self.bound(param.val())),
        }
    }

    /// Splits the decoder's output into the first parameter and the logarithm of the scale.
    ///
    /// # Shapes
    /// - `params`: `[.., params_per_value * data_dim]`
    /// - output: `[.., data_dim]`, and a log-scale that broadcasts to it
    pub fn split<const D: usize>(&self, params: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        match self.log_scale(&params.device()) {
            Some(log_scale) => {
                let mut shape = [1; D];
                shape[D - 1] = log_scale.dims()[0];
                (params, log_scale.reshape(shape))
            }
            None => {
                let data_dim = params.dims()[D - 1] / 2;
                let first = params.clone().narrow(D - 1, 0, data_dim);
                (first, self.bound(params.narrow(D - 1, data_dim, data_dim)))
            }
        }
    }

    fn bound<const D: usize>(&self, log_scale: Tensor<D>) -> Tensor<D> {
        match self.config.floor {
            Some(min) => softplus(log_scale.sub_scalar(min.ln())).add_scalar(min.ln()),
            None => log_scale,
        }
    }
}

impl ModuleConfig for ScaleConfig {
    type Module = Scale;

    fn init(&self, _seed: Seed, device: &Device) -> Result<Scale> {
        if let Some(floor) = self.floor {
            check_positive("the floor of a scale", floor)?;
        }
        let learned = |initial, len| -> Result<Scale> {
            let raw = Tensor::full([len], self.raw(initial)?, device);
            Ok(Scale { log_scale: Some(Param::from_tensor(raw)), config: *self })
        };
        match self.source {
            ScaleSource::Fixed { value } => {
                if self.floor.is_some() {
                    return Err(Error::config(
                        "a fixed scale has a floor, but only learned and predicted scales can",
                    ));
                }
                Scale::fixed(value)
            }
            ScaleSource::Learned { initial } => learned(initial, 1),
            ScaleSource::LearnedPerValue { initial, data_dim } => {
                check_len("the data_dim of a scale learned per value", data_dim)?;
                learned(initial, data_dim)
            }
            ScaleSource::Predicted => Ok(Scale { log_scale: None, config: *self }),
        }
    }
}
