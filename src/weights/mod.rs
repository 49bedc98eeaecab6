//! Weights of models that other frameworks have trained, and weights for them.
//!
//! A [`StateDict`] holds tensors by name, as PyTorch's `state_dict()` does. It is read from files of
//! PyTorch or Keras or from safetensors and loaded into a model of this crate, or collected from one
//! and written as safetensors. [`Names`] says which of its names belongs to which parameter.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use burn_vae::weights::{Allow, Names, StateDict};
//! use burn_vae::{MlpVaeConfig, ModuleConfig, Seed};
//!
//! // The weights of the VAE of pytorch/examples.
//! let vae = MlpVaeConfig::mlp(784, [400], 20).init(Seed::new(0), &Device::default())?;
//! let weights = StateDict::read("vae_20.pth")?;
//! let (vae, _) = weights.load(vae, &Names::pytorch_example(), Allow::NOTHING)?;
//!
//! // And back, for `load_state_dict(safetensors.torch.load_file("vae.safetensors"))`.
//! StateDict::of(&vae, &Names::pytorch_example())?.write("vae.safetensors")?;
//! # Ok::<(), burn_vae::Error>(())
//! ```
//!
//! Equal weights make an equal model only if the rest is equal too:
//!
//! | here | elsewhere |
//! |---|---|
//! | a decoder ends with logits | some end with `sigmoid`; it has no weights |
//! | an encoder outputs log-variances | some output log standard deviations, which are half as large |
//! | batch normalisation comes after the activation and adds 1e-3 to the variance, as in Keras | PyTorch adds 1e-5 |
//! | padding is Keras's "same": with stride 2, only at the bottom and on the right | `padding=1` of PyTorch is on all sides; for kernels of 2 and 3 it is [`Padding::Symmetric`](crate::nn::Padding) in a network of blocks |
//! | the channels of a pixel are adjacent when an image is flattened | PyTorch flattens `[channels, height, width]` |
//!
//! So models of Keras with "same" padding compute the same here, and fully connected models of
//! PyTorch. Convolutional ones of PyTorch do if no image is flattened and a network of
//! [blocks](crate::nn::Block) has their layers and paddings, as for the autoencoders of diffusers
//! ([`Names::diffusers_kl`], [`Names::diffusers_tiny`]).

mod content;
mod diffusers;
mod keras;
mod names;
mod report;
mod state;

pub use names::Names;
pub use report::{Allow, Report, WrongShape};
pub use state::StateDict;
