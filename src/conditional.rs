//! Conditional variational autoencoders: encoder and decoder also see a condition, such as a label.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::config::{ModuleConfig, init_part};
use crate::decoder::{Decoder, MlpDecoderConfig};
use crate::encoder::{Encoder, MlpEncoderConfig};
use crate::error::{Error, Result};
use crate::likelihood::{BernoulliNll, Likelihood, Support};
use crate::model::Model;
use crate::nn::check_dim;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::prior::{Distribution, Prior, StandardNormal};
use crate::seed::Seed;
use crate::vae::Vae;

/// A conditional variational autoencoder (Sohn et al. 2015, eq. 4):
///
/// `log p(x|y) >= E_q[log p(x|y, z)] - KL(q(z|x, y) || p(z))`
///
/// An example is a row of values followed by its condition `y`, as
/// [`WithLabels`](crate::data::WithLabels) produces it. The encoder sees the whole row; the decoder
/// sees a code followed by the condition. The likelihood covers the values only and the prior does
/// not depend on the condition, so all results refer to `p(x|y)`. Posterior, prior and divergence
/// are those of an unconditional model, so objectives, training, evaluation and saving work
/// unchanged.
#[derive(Module, Debug)]
pub struct ConditionalVae<E, D, L, P> {
    parts: Vae<E, D, L, P>,
    condition_dim: usize,
}

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior<E>> ConditionalVae<E, D, L, P> {
    /// Combines four parts: an encoder of values with conditions, a decoder from codes with
    /// conditions to values, a likelihood of the values, and a prior of the codes.
    ///
    /// # Errors
    /// If `condition_dim` is 0, or if the parts do not fit each other or the condition.
    pub fn new(
        encoder: E,
        decoder: D,
        likelihood: L,
        prior: P,
        condition_dim: usize,
    ) -> Result<Self> {
        check_dim("condition_dim", condition_dim)?;
        if condition_dim >= encoder.data_dim() {
            return Err(Error::config(format!(
                "the condition has length {condition_dim}, but the encoder's input has only {}: no \
                 value of the example is left",
                encoder.data_dim()
            )));
        }
        let parts = Vae::with_condition(encoder, decoder, likelihood, prior, condition_dim)?;
        Ok(Self { parts, condition_dim })
    }

    /// Returns the parts.
    pub fn parts(&self) -> &Vae<E, D, L, P> {
        &self.parts
    }

    /// Returns the length of a condition.
    pub fn condition_dim(&self) -> usize {
        self.condition_dim
    }

    /// Returns the device that holds the weights.
    pub fn device(&self) -> Device {
        self.parts.device()
    }

    /// Returns the posteriors of a batch of examples with their conditions, `[batch, data_dim]`.
    ///
    /// # Errors
    /// If the number of columns of `x` is not `data_dim`.
    pub fn encode(&self, x: Tensor<2>) -> Result<E::Posterior> {
        self.parts.encode(x)
    }

    /// Returns the expected data `E[x|y, z]` for codes and conditions.
    ///
    /// # Shapes
    /// - `z`: `[n, latent_dim]`
    /// - `condition`: `[n, condition_dim]`
    /// - output: `[n, num_values]`
    ///
    /// # Errors
    /// If a number of columns is wrong, or if the numbers of rows differ.
    pub fn decode(&self, z: Tensor<2>, condition: Tensor<2>) -> Result<Tensor<2>> {
        Error::check_columns("z", z.dims(), self.latent_dim())?;
        Error::check_columns("the condition", condition.dims(), self.condition_dim)?;
        let ([codes, _], [conditions, _]) = (z.dims(), condition.dims());
        if codes != conditions {
            return Err(Error::value(format!(
                "there are {codes} codes, but {conditions} conditions; each code needs one"
            )));
        }
        let Vae { decoder, likelihood, .. } = &self.parts;
        Ok(likelihood.mean(decoder.decode(Tensor::cat(vec![z, condition], 1))))
    }

    /// Returns the expected data at the posterior mean of each example, under its condition,
    /// `[batch, num_values]`.
    ///
    /// # Errors
    /// If the number of columns of `x` is not `data_dim`.
    pub fn reconstruct(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        let mean = self.encode(x.clone())?.mean();
        self.decode(mean, x.narrow(1, self.num_values(), self.condition_dim))
    }

    /// Returns the expected data at `n` codes drawn from the prior, `[n, num_values]`. The
    /// conditions are one-hot and drawn uniformly over the classes.
    ///
    /// # Errors
    /// If `n` is 0, or if `n` samples exceed 2^30 values in total.
    pub fn sample(&self, n: usize, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        if n == 0 {
            return Err(Error::value("0 samples were requested, but at least 1 is needed"));
        }
        self.parts.check_rows("samples", n)?;
        let (seed, classes) = (seed.into(), self.condition_dim);
        let mut rng = seed.child("condition").rng();
        let mut rows = vec![0.0; n * classes];
        for row in rows.chunks_exact_mut(classes) {
            row[rng.random_range(0..classes)] = 1.0;
        }
        let rows = TensorData::new::<f32, _>(rows, [n, classes]);
        self.sample_given(Tensor::from_data(rows, &self.device()), seed)
    }

    /// Returns the expected data `E[x|y, z]` at codes drawn from the prior, one per condition.
    ///
    /// # Shapes
    /// - `condition`: `[n, condition_dim]`
    /// - output: `[n, num_values]`
    ///
    /// # Errors
    /// If there are no conditions, if their number of columns is not `condition_dim`, or if the
    /// samples exceed 2^30 values in total.
    pub fn sample_given(&self, condition: Tensor<2>, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        Error::check_columns("the condition", condition.dims(), self.condition_dim)?;
        let ([n, _], device) = (condition.dims(), condition.device());
        if n == 0 {
            return Err(Error::value("there is no condition, but sampling needs at least 1"));
        }
        self.parts.check_rows("samples", n)?;
        let z = self.prior(Phase::Eval).sample(n, self.latent_dim(), seed.into(), &device);
        self.decode(z, condition)
    }
}

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior<E>> Model for ConditionalVae<E, D, L, P> {
    type Posterior = E::Posterior;
    type Prior = P::Bound;

    fn data_dim(&self) -> usize {
        self.parts.data_dim()
    }

    fn latent_dim(&self) -> usize {
        self.parts.latent_dim()
    }

    fn support(&self) -> Support {
        self.parts.support()
    }

    fn noise(&self) -> NoiseShape {
        self.parts.noise()
    }

    fn num_values(&self) -> usize {
        self.data_dim() - self.condition_dim
    }

    fn posterior(&self, x: Tensor<2>, phase: Phase) -> E::Posterior {
        self.parts.posterior(x, phase)
    }

    fn prior(&self, phase: Phase) -> P::Bound {
        self.parts.prior(phase)
    }

    /// Computes `-log p(x|y, z)` of the values, given codes and conditions.
    fn nll(&self, z: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let ([samples, batch, _], values) = (z.dims(), self.num_values());
        let condition = x.clone().narrow(1, values, self.condition_dim).unsqueeze_dim::<3>(0);
        let condition = condition.expand([samples, batch, self.condition_dim]);
        self.parts.nll(Tensor::cat(vec![z, condition], 2), x.narrow(1, 0, values))
    }

    fn with_fixed_likelihood(&self) -> Self {
        Self { parts: self.parts.with_fixed_likelihood(), ..self.clone() }
    }
}

/// Configuration of a [`ConditionalVae`], composed of those of its parts and the length of the
/// condition.
///
/// | field | sizes |
/// |---|---|
/// | `encoder` | from values and condition to latent dimensions |
/// | `decoder` | from latent dimensions and condition to the likelihood's parameters |
/// | `likelihood` | values |
/// | `prior` | latent dimensions |
/// | `condition_dim` | length of the condition; the number of classes for a class label |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalVaeConfig<
    E = MlpEncoderConfig,
    D = MlpDecoderConfig,
    L = BernoulliNll,
    P = StandardNormal,
> {
    /// The inference network.
    pub encoder: E,
    /// The generative network.
    pub decoder: D,
    /// The distribution `p(x|y, z)` that the decoder's output parameterises.
    pub likelihood: L,
    /// The prior distribution of codes.
    pub prior: P,
    /// The length of the condition.
    pub condition_dim: usize,
}

impl ConditionalVaeConfig {
    /// Uses MLPs with the hidden layers `hidden`, reversed in the decoder, for examples of `values`
    /// bits with a condition of length `condition_dim`.
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use burn_vae::{ModuleConfig, Seed};
    /// use burn_vae::conditional::ConditionalVaeConfig;
    ///
    /// let device = Device::flex();
    /// let vae = ConditionalVaeConfig::mlp(784, 10, [256], 8).init(Seed::new(0), &device)?;
    /// let digits = vae.sample_given(Tensor::eye(10, &device), 0)?; // one of each class
    /// assert_eq!(digits.dims(), [10, 784]);
    /// # Ok::<(), burn_vae::Error>(())
    /// ```
    pub fn mlp(
        values: usize,
        condition_dim: usize,
        hidden: impl Into<Vec<usize>>,
        latent_dim: usize,
    ) -> Self {
        let hidden = hidden.into();
        let reversed = hidden.iter().rev().copied().collect::<Vec<_>>();
        Self {
            encoder: MlpEncoderConfig::new(values + condition_dim, hidden, latent_dim),
            decoder: MlpDecoderConfig::new(latent_dim + condition_dim, reversed, values),
            likelihood: BernoulliNll,
            prior: StandardNormal,
            condition_dim,
        }
    }
}

impl<E, D, L, P> ModuleConfig for ConditionalVaeConfig<E, D, L, P>
where
    E: ModuleConfig<Module: Encoder>,
    D: ModuleConfig<Module: Decoder>,
    L: ModuleConfig<Module: Likelihood>,
    P: ModuleConfig<Module: Prior<E::Module>>,
{
    type Module = ConditionalVae<E::Module, D::Module, L::Module, P::Module>;

    fn init(&self, seed: Seed, device: &Device) -> Result<Self::Module> {
        ConditionalVae::new(
            init_part("encoder", &self.encoder, seed, device)?,
            init_part("decoder", &self.decoder, seed, device)?,
            init_part("likelihood", &self.likelihood, seed, device)?,
            init_part("prior", &self.prior, seed, device)?,
            self.condition_dim,
        )
    }
}
