use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use super::{Mixture, Prior};
use crate::config::ModuleConfig;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::nn::{MAX_WEIGHTS, check_dim};
use crate::phase::Phase;
use crate::posterior::Density;
use crate::seed::Seed;

/// Configuration of a [`VampPrior`].
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `components` | | number of pseudo-inputs | at least 1 |
/// | `data_dim` | | length of an example | at least 1 |
/// | `low`, `high` | 0, 1 | range of the values of an example | `low` below `high` |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VampPriorConfig {
    /// Number of pseudo-inputs.
    pub components: usize,
    /// Length of an example.
    pub data_dim: usize,
    /// Minimum of the values of an example.
    pub low: f32,
    /// Maximum of the values of an example.
    pub high: f32,
}

impl VampPriorConfig {
    /// Describes `components` pseudo-inputs of length `data_dim`, with values from 0 to 1.
    pub fn new(components: usize, data_dim: usize) -> Self {
        Self { components, data_dim, low: 0.0, high: 1.0 }
    }

    /// Sets the range of the values.
    pub fn with_range(self, low: f32, high: f32) -> Self {
        Self { low, high, ..self }
    }
}

/// The variational mixture of posteriors, `p(z) = 1/K sum_k q(z|u_k)` (Tomczak and Welling 2018,
/// eq. 9).
///
/// The pseudo-inputs `u_k` are learned; the posteriors are those of the model's own encoder. A
/// pseudo-input is `low + (high - low) sigmoid(w)`, so it stays within the range of the data
/// without a cut-off in its gradient. Fresh pseudo-inputs lie near the middle of the range; it is
/// better to start them from examples, see [`starting_from`](Self::starting_from).
///
/// In training, batch normalisation in the encoder treats the pseudo-inputs as a batch, so they
/// affect its moving averages.
///
/// The encoder's posterior may be of any family with a density:
///
/// ```
/// use burn_vae::{MlpVaeConfig, ModuleConfig, Seed, Vae};
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::FullCovariance;
/// use burn_vae::prior::VampPriorConfig;
///
/// # let device = burn::tensor::Device::flex();
/// let encoder = MlpEncoderConfig::new(6, [5], 2).with_posterior(FullCovariance);
/// let encoder = encoder.init(Seed::new(0), &device)?;
/// let vae = MlpVaeConfig::mlp(6, [5], 2).init(Seed::new(0), &device)?;
/// let prior = VampPriorConfig::new(3, 6).init(Seed::new(0), &device)?;
/// Vae::new(encoder, vae.decoder, vae.likelihood, prior)?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
///
/// A mixture needs the densities of its posteriors. With an implicit posterior, the model does not
/// compile:
///
/// ```compile_fail,E0277
/// use burn_vae::{MlpVaeConfig, ModuleConfig, Seed, Vae};
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::Implicit;
/// use burn_vae::prior::VampPriorConfig;
///
/// # let device = burn::tensor::Device::flex();
/// let encoder = MlpEncoderConfig::new(6, [5], 2).with_posterior(Implicit::new([4]));
/// let encoder = encoder.init(Seed::new(0), &device)?;
/// let vae = MlpVaeConfig::mlp(6, [5], 2).init(Seed::new(0), &device)?;
/// let prior = VampPriorConfig::new(3, 6).init(Seed::new(0), &device)?;
/// Vae::new(encoder, vae.decoder, vae.likelihood, prior)?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
///
/// A divergence to a mixture has no closed form: train with
/// [`MonteCarloKl`](crate::divergence::MonteCarloKl) or an importance-weighted bound.
#[derive(Module, Debug)]
pub struct VampPrior {
    /// `[components, data_dim]`
    logits: Param<Tensor<2>>,
    #[module(skip)]
    range: [f32; 2],
}

impl VampPrior {
    /// The pseudo-inputs, `[components, data_dim]`.
    pub fn pseudo_inputs(&self) -> Tensor<2> {
        let [low, high] = self.range;
        activation::sigmoid(self.logits.val()).mul_scalar(high - low).add_scalar(low)
    }

    /// Starts the pseudo-inputs close to the given examples. Values at the ends of the range are
    /// moved inside by a twentieth of it, where a gradient can change them.
    ///
    /// # Shapes
    /// - `examples`: `[components, data_dim]`
    ///
    /// # Errors
    /// If `examples` has a different shape.
    pub fn starting_from(mut self, examples: Tensor<2>) -> Result<Self> {
        let shape = self.logits.dims();
        if examples.dims() != shape {
            return Err(Error::value(format!(
                "the examples have shape {:?}, but the pseudo-inputs have shape {shape:?}",
                examples.dims()
            )));
        }
        let [low, high] = self.range;
        let share = examples.sub_scalar(low).div_scalar(high - low).clamp(0.05, 0.95);
        let logits = share.clone().log() - share.neg().add_scalar(1.0).log();
        self.logits = Param::from_tensor(logits.to_device(&self.logits.device()).detach());
        Ok(self)
    }
}

impl ModuleConfig for VampPriorConfig {
    type Module = VampPrior;

    fn init(&self, seed: Seed, device: &Device) -> Result<VampPrior> {
        let Self { components, data_dim, low, high } = *self;
        check_dim("components", components)?;
        check_dim("data_dim", data_dim)?;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(Error::config(format!(
                "low is {low} and high is {high}, but both must be finite and low below high"
            )));
        }
        let len = components.checked_mul(data_dim).filter(|&len| len <= MAX_WEIGHTS).ok_or_else(
            || {
                Error::config(format!(
                    "{components} pseudo-inputs of {data_dim} values are too many"
                ))
            },
        )?;
        let normal = Normal::new(0.0f32, 0.5).expect("a positive and finite standard deviation");
        let logits = normal.sample_iter(seed.rng()).take(len).collect();
        let logits = TensorData::new::<f32, _>(logits, [components, data_dim]);
        let logits = Param::from_tensor(Tensor::from_data(logits, device));
        Ok(VampPrior { logits, range: [low, high] })
    }
}

impl<E: Encoder<Posterior: Density>> Prior<E> for VampPrior {
    type Bound = Mixture<E::Posterior>;

    fn bind(&self, encoder: &E, phase: Phase) -> Self::Bound {
        let components = encoder.encode(self.pseudo_inputs(), phase);
        let count = self.logits.dims()[0];
        let log_weights = Tensor::full([count], -(count as f64).ln(), &self.logits.device());
        Mixture::new(components, log_weights, encoder.noise(), encoder.latent_support())
    }

    fn check(&self, encoder: &E) -> Result<()> {
        let (mine, theirs) = (self.logits.dims()[1], encoder.data_dim());
        if mine == theirs {
            return Ok(());
        }
        Err(Error::config(format!(
            "the prior's pseudo-inputs have {mine} values, but the encoder takes {theirs}"
        )))
    }
}
