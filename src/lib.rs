//! Variational autoencoders on [Burn](burn), from components that compose.
//!
//! A variational autoencoder consists of a few textbook objects: an inference network, a posterior,
//! a divergence, a reparameterisation, a generative network, a likelihood, a prior, and a bound
//! that combines them. Here, each is a component behind a small trait. You can replace any of them,
//! with a component of this crate or your own, without changing the rest.
//!
//! # The flow
//!
//! ```text
//! x   [B, N]    --Encoder-->         posterior q(z|x)
//! eps [K, B, L] --Reparameterize-->  z [K, B, L]          eps from a NoiseSource
//! q             --Divergence-->      q, unchanged, and its divergence [B]
//! z             --Decoder-->         parameters of p(x|z)  logits, never squashed
//! parameters, x --Likelihood-->      nll [K, B]
//! nll, divergence --Objective-->     loss [B] --mean--> backward
//! ```
//!
//! There are `B` examples of `N` values, `L` latent dimensions and `K` Monte Carlo samples. Values
//! and latent dimensions are summed over, never averaged; the only mean over the batch is taken at
//! the very end. All terms are in nats per example.
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
//! [`train::Trainer`] does this on Burn's Learner, with shuffled batches, validation, KL warm-up,
//! early stopping, checkpoints and exact resume, progress and a history. [`saved`] stores the
//! result.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the model and what a trained one can do | [`Vae`] |
//! | inference networks and their posteriors | [`encoder`], [`posterior`] |
//! | generative networks and their likelihoods | [`decoder`], [`likelihood`] |
//! | distributions of codes | [`prior`] |
//! | training objectives | [`objective`], [`divergence`] |
//! | network layers, invertible maps | [`nn`], [`flow`] |
//! | models from the literature | [`presets`] |
//! | models with a discriminator | [`adversarial`] |
//! | conditional models | [`conditional`] |
//! | randomness | [`Seed`], [`noise`] |
//! | data | [`data`] |
//! | training and evaluation | [`train`], [`optim`], [`eval`] |
//! | models on disk | [`saved`] |
//! | weights from PyTorch and Keras, and for PyTorch | `weights` |
//! | choosing a backend by name | [`backend`] |
//! | pictures, tables and diagrams | [`viz`], [`latent`], [`summary`] |
//! | a training as a page to explore | `report` |
//!
//! # Features
//!
//! | feature | adds | Burn's package |
//! |---|---|---|
//! | `flex` (default) | the CPU, in pure Rust | burn-flex |
//! | `ndarray` | the CPU, as fast as `flex` in training; Burn has deprecated it | burn-ndarray |
//! | `wgpu` | any GPU | burn-wgpu |
//! | `vulkan`, `metal` | wgpu with that API's compiler | burn-wgpu |
//! | `cuda` | NVIDIA GPUs | burn-cuda |
//! | `remote`, `remote-server` | devices of other machines, see [`backend::device`] | burn-remote |
//! | `viz` (default) | pictures, in `viz` | |
//! | `analysis` (default) | PCA and t-SNE of codes, in [`latent`] | |
//! | `report` (default) | a training as one HTML page, in `report` | |
//! | `images` (default) | `data::ImageFolder` | |
//! | `weights` (default) | weights of other frameworks, in `weights` | burn-store |
//! | `progress` (default) | a progress bar within each epoch | |
//! | `tui` | Burn's dashboard in the terminal, as `train::Progress::Tui` | burn-train with `tui` |
//! | `download` | downloading MNIST if no copy is on disk | burn-dataset |
//!
//! The `Device` selects one of the compiled backends at run time.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs, rustdoc::broken_intra_doc_links)]
#![deny(unsafe_code)]
// They panic if standard output or standard error is closed.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod adversarial;
pub mod backend;
pub mod conditional;
mod config;
pub mod data;
pub mod decoder;
mod describe;
pub mod divergence;
pub mod encoder;
mod error;
pub mod eval;
mod exec;
mod files;
pub mod flow;
#[cfg(doctest)]
mod guide;
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
#[cfg(feature = "report")]
pub mod report;
pub mod saved;
mod seed;
pub mod summary;
pub mod train;
mod vae;
#[cfg(feature = "viz")]
pub mod viz;
#[cfg(feature = "weights")]
pub mod weights;

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
pub use vae::{ConvVae, ConvVaeConfig, FrozenVae, MlpVae, MlpVaeConfig, Vae, VaeConfig};
