//! Variational autoencoders on [Burn](burn), from components that compose.
//!
//! A variational autoencoder is a handful of textbook objects: an inference network, a posterior, a
//! divergence, a reparameterisation, a generative network, a likelihood, a prior, and a bound made
//! of them. Each is a component behind a small trait here. You can swap any of them, for another of
//! this crate's or for your own, without touching the rest.
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
//! There are `B` examples of `N` values, `L` latent dimensions and `K` Monte Carlo samples. Values
//! and latent dimensions are summed, never averaged; the only mean over the batch is taken at the
//! very end. Everything is in nats per example.
//!
//! # A model by hand
//!
//! ```
//! use burn::module::Module;
//! use burn::optim::GradientsParams;
//! use burn::tensor::{Device, Tensor};
//! use burn_vae::decoder::MlpDecoderConfig;
//! use burn_vae::encoder::MlpEncoderConfig;
//! use burn_vae::optim::Adam;
//! use burn_vae::prelude::*;
//! use burn_vae::prior::StandardNormal;
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
//! | the model and what a trained one can do | [`Vae`] |
//! | inference networks and what they return | [`encoder`], [`posterior`] |
//! | generative networks and what their output means | [`decoder`], [`likelihood`] |
//! | distributions of codes | [`prior`] |
//! | what is minimised | [`objective`], [`divergence`] |
//! | building blocks of networks, invertible maps | [`nn`], [`flow`] |
//! | models of the literature by name | [`presets`] |
//! | a discriminator beside the model | [`adversarial`] |
//! | examples with a condition | [`conditional`] |
//! | randomness | [`Seed`], [`noise`] |
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
pub mod decoder;
pub mod divergence;
pub mod encoder;
mod error;
pub mod eval;
mod exec;
mod files;
pub mod flow;
pub mod latent;
pub mod likelihood;
mod math;
mod model;
pub mod nn;
pub mod noise;
mod numbered;
pub mod objective;
mod ops;
pub mod optim;
mod phase;
pub mod posterior;
pub mod prelude;
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
pub use decoder::Decoder;
pub use divergence::{Divergence, KlDivergence};
pub use encoder::Encoder;
pub use error::{Error, ErrorKind, Result};
pub use likelihood::{BernoulliNll, Likelihood};
pub use model::Model;
pub use noise::NoiseSource;
pub use objective::{Elbo, Inputs, Objective};
pub use phase::Phase;
pub use posterior::Posterior;
pub use prior::Prior;
pub use reparameterize::Reparameterize;
pub use seed::Seed;
pub use vae::{ConvVae, ConvVaeConfig, MlpVae, MlpVaeConfig, Vae, VaeConfig};

/// The code of the README, compiled and run with the other documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
