//! Variational autoencoders on [Burn](burn), from components that compose.
//!
//! A variational autoencoder is a handful of textbook objects: an inference network, a posterior, a
//! divergence, a reparameterisation, a generative network, a likelihood, a prior, and a bound made
//! of them. Here each is a component of its own behind a small trait, so that any of them can be
//! swapped, for another of this crate's or for one of yours, without touching the rest.
//!
//! # The flow
//!
//! ```text
//! x   [B, N]    --Encoder-->         posterior q(z|x)
//! eps [K, B, L] --Reparameterize-->  z [K, B, L]          eps from a NoiseSource
//! q             --Divergence-->      q, unchanged, and its divergence [B] beside it
//! z             --Decoder-->         parameters of p(x|z)  logits, never squashed
//! parameters, x --Likelihood-->      nll [K, B]
//! nll, divergence --Objective-->     loss [B] --mean--> backward
//! ```
//!
//! with `B` examples of `N` values, `L` latent dimensions and `K` Monte Carlo samples. Values and
//! latent dimensions are summed, never averaged; the one mean over the batch is taken at the very
//! end. Everything is in nats per example.
//!
//! # A model by hand
//!
//! ```
//! use burn::module::Module;
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use burn_vae::optim::Adam;
//! use burn_vae::{
//!     BernoulliNll, Elbo, Inputs, MlpDecoderConfig, MlpEncoderConfig, ModuleConfig, NoiseSource,
//!     Objective, Seed, StandardNormal, Vae,
//! };
//!
//! let device = Device::flex();
//! let seed = Seed::new(0);
//! let mut vae = Vae::new(
//!     MlpEncoderConfig::new(784, [256], 2).init(seed.child("encoder"), &device)?,
//!     MlpDecoderConfig::new(2, [256], 784).init(seed.child("decoder"), &device)?,
//!     BernoulliNll,
//!     StandardNormal,
//! )?
//! .train();
//!
//! let x = Tensor::zeros([100, 784], &vae.device());
//! let noise = NoiseSource::new(seed.child("noise"));
//! let mut optimizer = Adam::new().init();
//! for step in 0..3 {
//!     let eps = noise.draw(step, [1, 100, 2], &vae.device());
//!     let inputs = Inputs::new(x.clone(), eps).at(step, seed.at(step));
//!     let loss = Elbo::default().terms(&vae, inputs).mean();
//!     let gradients = GradientsParams::from_grads(loss.backward(), &vae);
//!     vae = optimizer.step(1e-3, vae, gradients);
//! }
//! let digits = vae.valid().sample(16, seed.child("sample"))?; // [16, 784]
//! # assert_eq!(digits.dims(), [16, 784]);
//! # Ok::<(), burn_vae::Error>(())
//! ```
//!
//! [`train::Trainer`] does the same on Burn's Learner, with shuffled batches, validation, KL warm-up,
//! early stopping, checkpoints and exact resume, progress and a history; [`saved`] keeps the result.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the model and what to do with a trained one | [`Vae`] |
//! | networks | [`Encoder`], [`Decoder`], [`nn`] |
//! | models of the literature by name | [`presets`] |
//! | distributions | [`Posterior`], [`Prior`], [`Likelihood`] |
//! | invertible maps of codes | [`flow`] |
//! | a discriminator beside the model | [`adversarial`] |
//! | examples with a condition | [`conditional`] |
//! | what is minimised | [`Objective`], [`Divergence`] |
//! | randomness | [`Seed`], [`NoiseSource`] |
//! | data | [`data`] |
//! | training and evaluation | [`train`], [`optim`], [`eval`] |
//! | models on disk | [`saved`] |
//! | backends by name | [`backend`] |
//! | pictures, tables and diagrams | [`viz`], [`latent`], [`summary`] |
//!
//! # Features
//!
//! | feature | brings | Burn's package |
//! |---|---|---|
//! | `flex` (default) | the CPU, in pure Rust | burn-flex |
//! | `ndarray` | the CPU, Burn's older backend, deprecated there | burn-ndarray |
//! | `wgpu` | any GPU | burn-wgpu |
//! | `vulkan`, `metal` | wgpu with the compiler of that API | burn-wgpu |
//! | `cuda` | NVIDIA's GPUs | burn-cuda |
//! | `viz` (default) | pictures, in `viz` | |
//! | `analysis` (default) | PCA and t-SNE of codes, in [`latent`] | |
//! | `images` (default) | `data::ImageFolder` | |
//! | `progress` (default) | a bar that moves within an epoch | |
//! | `download` | MNIST fetched where no copy lies on disk | burn-dataset |
//!
//! Which of the compiled backends computes is decided at run time, by the `Device`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, rustdoc::broken_intra_doc_links)]
#![deny(unsafe_code)]
// They panic where nobody reads what they print.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod adversarial;
pub mod backend;
pub mod conditional;
mod config;
pub mod data;
mod decoder;
mod divergence;
mod encoder;
mod error;
pub mod eval;
mod exec;
mod files;
pub mod flow;
pub mod latent;
mod likelihood;
mod math;
mod model;
pub mod nn;
mod noise;
mod numbered;
mod objective;
mod ops;
pub mod optim;
mod phase;
mod posterior;
pub mod presets;
pub mod prior;
mod reparameterize;
pub mod saved;
mod seed;
pub mod summary;
pub mod train;
mod vae;
#[cfg(feature = "viz")]
pub mod viz;

pub use config::ModuleConfig;
pub use decoder::{
    ConvDecoder, ConvDecoderConfig, Decoder, FirstLayerDecoder, FirstLayerDecoderConfig,
    MlpDecoder, MlpDecoderConfig,
};
pub use divergence::{
    ChiDivergence, Divergence, DivergenceTerms, Kernel, KlDivergence, Mmd, MonteCarloKl,
    MonteCarloRenyi, RenyiDivergence, Shares, Width,
};
pub use encoder::{
    ConvEncoder, ConvEncoderConfig, Encoder, HierarchicalEncoder, HierarchicalEncoderConfig,
    MlpEncoder, MlpEncoderConfig,
};
pub use error::{Error, ErrorKind, Result};
pub use likelihood::{
    BernoulliNll, CategoricalNll, ContinuousBernoulliNll, DiscretizedLogisticMixtureNll,
    DiscretizedLogisticNll, GaussianNll, GaussianNllConfig, LaplaceNll, LaplaceNllConfig,
    Likelihood, NegativeBinomialNll, NegativeBinomialNllConfig, PoissonNll, Scale, ScaleConfig,
    ScaleSource, StudentTNll, StudentTNllConfig, Support,
};
pub use model::Model;
pub use noise::{Noise, NoiseShape, NoiseSource};
pub use objective::{
    AdversarialElbo, Beta, Ciwae, Cubo, Elbo, Gradient, Inputs, Iwae, Latents, Miwae, Objective,
    Piwae, RenyiBound, TargetKl, Terms,
};
pub use phase::Phase;
pub use posterior::{
    Bernoulli, BernoulliFamily, BernoulliHead, Categorical, CategoricalFamily, CategoricalHead,
    Density, Diagonal, DiagonalGaussian, DiagonalHead, Family, FullCovariance, FullCovarianceHead,
    FullGaussian, Head, HierarchicalPosterior, Implicit, ImplicitEncoder, ImplicitEncoderConfig,
    ImplicitHead, ImplicitPosterior, Posterior, Samples, Temperature, Transformed, TransformedHead,
    TransformedPosterior,
};
pub use prior::{
    BernoulliPrior, BernoulliPriorConfig, CategoricalPrior, CategoricalPriorConfig, DiagonalPrior,
    FlowPrior, FlowPriorConfig, GaussianPrior, GaussianPriorConfig, HierarchicalPrior,
    HierarchicalPriorConfig, MixturePrior, MixturePriorConfig, Prior, StandardNormal, VampPrior,
    VampPriorConfig,
};
pub use reparameterize::Reparameterize;
pub use seed::Seed;
pub use vae::{ConvVae, ConvVaeConfig, MlpVae, MlpVaeConfig, Vae, VaeConfig};

/// The code of the README, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
