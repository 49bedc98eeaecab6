//! The items that most programs need, in one line: `use burn_vae::prelude::*;`.
//!
//! It contains the traits, the common components, the models with their configurations, and the
//! trainer. Names that may clash with those of other crates' globs stay in their modules:
//! [`Result`](crate::Result) and [`Error`](crate::Error) at the root, and
//! [`prior::StandardNormal`](crate::prior::StandardNormal) and
//! [`posterior::Bernoulli`](crate::posterior::Bernoulli), which `rand_distr` also has.
//!
//! ```
//! use burn_vae::prelude::*;
//! use rand_distr::*; // no name clashes
//!
//! let (normal, beta) = (StandardNormal, Beta::new(2.0, 3.0)?); // of rand_distr
//! let objective = Elbo::new(KlDivergence);
//! # let _: (StandardNormal, Beta<f32>, Elbo) = (normal, beta, objective);
//! # Ok::<(), BetaError>(())
//! ```

pub use crate::config::ModuleConfig;
pub use crate::data::Examples;
pub use crate::decoder::Decoder;
pub use crate::divergence::{Divergence, KlDivergence};
pub use crate::encoder::Encoder;
pub use crate::likelihood::{BernoulliNll, Likelihood};
pub use crate::model::Model;
pub use crate::noise::NoiseSource;
pub use crate::objective::{Elbo, Inputs, Objective};
pub use crate::phase::Phase;
pub use crate::posterior::Posterior;
pub use crate::prior::Prior;
pub use crate::reparameterize::Reparameterize;
pub use crate::seed::Seed;
pub use crate::train::{TrainConfig, Trainer};
pub use crate::vae::{ConvVae, ConvVaeConfig, MlpVae, MlpVaeConfig, Vae, VaeConfig};
