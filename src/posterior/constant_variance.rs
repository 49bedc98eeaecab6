use burn::module::Module;
use burn::tensor::Tensor;

use super::{DiagonalGaussian, Family, Head, NewHead};
use crate::config::named_config;
use crate::describe::{Describe, Layer};
use crate::error::{Error, Result};
use crate::phase::Phase;

/// The family of [`DiagonalGaussian`] posteriors with one standard deviation for all data and
/// dimensions (Ghosh et al. 2020, section 3.1). The mean is the features themselves, without another
/// layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstantVariance {
    /// The standard deviation, above 0.
    pub std: f64,
}

impl ConstantVariance {
    /// Describes posteriors with the given standard deviation.
    pub fn new(std: f64) -> Self {
        Self { std }
    }
}

named_config!(ConstantVariance, ConstantVariance { std: f64 });

/// The head of [`ConstantVariance`] posteriors; it has no parameters.
#[derive(Module, Debug)]
pub struct ConstantVarianceHead {
    #[module(skip)]
    latent_dim: usize,
    #[module(skip)]
    log_var: f64,
}

impl Family for ConstantVariance {
    type Head = ConstantVarianceHead;

    fn init(&self, new: &NewHead) -> Result<ConstantVarianceHead> {
        let NewHead { features, latent_dim, .. } = *new;
        let log_var = 2.0 * self.std.ln();
        if !(self.std > 0.0 && (log_var as f32).is_finite()) {
            return Err(Error::config(format!(
                "std is {}, but it must be above 0 and finite",
                self.std
            )));
        }
        if features != latent_dim {
            return Err(Error::config(format!(
                "the features are the means here, but there are {features} features for codes of \
                 length {latent_dim}"
            )));
        }
        Ok(ConstantVarianceHead { latent_dim, log_var })
    }
}

impl Head for ConstantVarianceHead {
    type Posterior = DiagonalGaussian;

    fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    fn forward(&self, features: Tensor<2>, _phase: Phase) -> DiagonalGaussian {
        let log_var = features.zeros_like().detach().add_scalar(self.log_var);
        DiagonalGaussian::new(features, log_var)
    }
}

impl Describe for ConstantVarianceHead {
    fn layers(&self) -> Vec<Layer> {
        Vec::new()
    }
}
