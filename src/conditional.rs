//! Conditional variational autoencoders: encoder and decoder are told something about the example.

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
/// An example is a row of its values and, behind them, its condition `y`, as
/// [`WithLabels`](crate::data::WithLabels) makes them. The encoder sees the whole row, the decoder a code with the
/// condition behind it. The likelihood looks at the values alone, and the prior does not depend on the
/// condition, so every figure is of `p(x|y)`. Posterior, prior and the divergence between them are those of a
/// plain model: objectives, training, evaluation and saved models know nothing of the condition.
#[derive(Module, Debug)]
pub struct ConditionalVae<E, D, L, P> {
    parts: Vae<E, D, L, P>,
    condition_dim: usize,
}

impl<E: Encoder, D: Decoder, L: Likelihood, P: Prior<E>> ConditionalVae<E, D, L, P> {
    /// Puts four parts together: an encoder of examples with their conditions, a decoder of codes with conditions
    /// to values without, a likelihood of the values, and a prior of the codes.
    ///
    /// # Errors
    /// If the parts do not fit each other or the length of the condition, which is at least 1.
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
                "the condition has length {condition_dim}, but the encoder takes only {} numbers with \
                 it: no value of the example is left",
                encoder.data_dim()
            )));
        }
        let parts = Vae::with_condition(encoder, decoder, likelihood, prior, condition_dim)?;
        Ok(Self { parts, condition_dim })
    }

    /// The parts.
    pub fn parts(&self) -> &Vae<E, D, L, P> {
        &self.parts
    }

    /// The length of a condition.
    pub fn condition_dim(&self) -> usize {
        self.condition_dim
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.parts.device()
    }

    /// The posteriors of a batch of examples with their conditions, `[batch, data_dim]`.
    ///
    /// # Errors
    /// If `x` has another number of columns.
    pub fn encode(&self, x: Tensor<2>) -> Result<E::Posterior> {
        self.parts.encode(x)
    }

    /// The expected data `E[x|y, z]` of codes and conditions.
    ///
    /// # Shapes
    /// - `z`: `[n, latent_dim]`
    /// - `condition`: `[n, condition_dim]`
    /// - output: `[n, num_values]`
    ///
    /// # Errors
    /// If one has another number of columns, or they differ in their rows.
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

    /// The expected data at the posterior mean of each example, under its condition, `[batch, num_values]`.
    ///
    /// # Errors
    /// If `x` has another number of columns.
    pub fn reconstruct(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        let mean = self.encode(x.clone())?.mean();
        self.decode(mean, x.narrow(1, self.num_values(), self.condition_dim))
    }

    /// The expected data at `n` codes drawn from the prior, `[n, num_values]`. The conditions are one-hot, each
    /// class with the same probability.
    ///
    /// # Errors
    /// If `n` is zero, or if so many samples have more than 2^30 numbers.
    pub fn sample(&self, n: usize, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        if n == 0 {
            return Err(Error::value("0 samples were asked for, but at least 1 is needed"));
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

    /// The expected data `E[x|y, z]` at codes drawn from the prior, one for each condition.
    ///
    /// # Shapes
    /// - `condition`: `[n, condition_dim]`
    /// - output: `[n, num_values]`
    ///
    /// # Errors
    /// If there are no conditions, if they have another number of columns, or if so many samples have more
    /// than 2^30 numbers.
    pub fn sample_given(&self, condition: Tensor<2>, seed: impl Into<Seed>) -> Result<Tensor<2>> {
        Error::check_columns("the condition", condition.dims(), self.condition_dim)?;
        let ([n, _], device) = (condition.dims(), condition.device());
        if n == 0 {
            return Err(Error::value("there is no condition to draw a sample for"));
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

    /// That of the values, given codes and conditions.
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

/// Description of a [`ConditionalVae`] through those of its parts and the length of the condition.
///
/// | field | its lengths |
/// |---|---|
/// | `encoder` | from values and condition to latent dimensions |
/// | `decoder` | from latent dimensions and condition to the likelihood's parameters of the values |
/// | `likelihood` | of the values |
/// | `prior` | of the latent dimensions |
/// | `condition_dim` | the number of classes where the condition is one |
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
    /// What the decoder's output means.
    pub likelihood: L,
    /// The distribution of codes.
    pub prior: P,
    /// The length of the condition.
    pub condition_dim: usize,
}

impl ConditionalVaeConfig {
    /// Perceptrons with the same hidden layers in both directions, in the decoder reversed, for examples of
    /// `values` bits with a condition of `condition_dim` numbers.
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
