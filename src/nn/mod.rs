//! Building blocks of the encoders and decoders.

mod activation;
mod conv;
mod conv_config;
mod frozen;
mod init;
mod joint;
mod linear;
mod masked;
mod mlp;
mod network;
mod normalization;

pub use crate::ops::{Direction, Geometry, Padding};
pub use activation::Activation;
pub use conv::Conv;
pub(crate) use conv_config::ConvBlock;
pub use conv_config::ConvConfig;
pub use frozen::Frozen;
pub use init::Init;
pub(crate) use init::MAX_WEIGHTS;
pub(crate) use joint::{Joint, JointDims};
pub(crate) use linear::{affine, linear};
pub(crate) use masked::{FromAbove, FromLeft};
pub use mlp::{Mlp, MlpConfig};
pub(crate) use mlp::{check_dim, check_len};
pub(crate) use network::values_of;
pub use network::{Attention, Block, GroupNorm, Network, NetworkConfig, Tiles};
pub use normalization::Normalization;
pub(crate) use normalization::{Norm, normalize};
