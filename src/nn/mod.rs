//! What the encoders and decoders are made of.

mod activation;
mod init;
mod mlp;

pub use activation::Activation;
pub use init::Init;
pub(crate) use mlp::check_dim;
pub use mlp::{Mlp, MlpConfig};
