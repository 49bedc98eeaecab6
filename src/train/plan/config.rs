use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seed::Seed;

/// The numbers that a training run is made of.
///
/// | field | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 50 | passes over the training set | 1 to 2^32 - 1 |
/// | `batch_size` | 100 | examples in a step | at least 1 |
/// | `num_samples` | 1 | Monte Carlo samples of each example's posterior | at least 1 |
/// | `epsilon_std` | 1 | standard deviation of the noise, see [`NoiseSource`](crate::NoiseSource) | at least 0 |
/// | `patience` | none | epochs without a better validation NELBO after which to stop | at least 1 |
/// | `seed` | 0 | where all shuffles and all noise come from | any |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples in a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Monte Carlo samples of the posterior of each example.
    pub num_samples: usize,
    /// Standard deviation of the noise.
    pub epsilon_std: f32,
    /// Stop so many epochs after the best one, and hand out the weights of the best one. With as
    /// many as there are epochs, the best weights are handed out after the last epoch.
    ///
    /// The best epoch is that of the lowest validation NELBO, which weighs the divergence fully
    /// whatever the objective does; see [`Beta`](crate::objective::Beta).
    pub patience: Option<usize>,
    /// Where all shuffles and all noise come from.
    pub seed: Seed,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 50,
            batch_size: 100,
            num_samples: 1,
            epsilon_std: 1.0,
            patience: None,
            seed: Seed::new(0),
        }
    }
}

impl TrainConfig {
    /// Checks what is not checked where it is used.
    pub(super) fn check(&self) -> Result<()> {
        if self.epochs == 0 {
            return Err(Error::config("epochs is 0, but it must be at least 1"));
        }
        if u32::try_from(self.epochs).is_err() {
            let epochs = self.epochs;
            return Err(Error::config(format!("epochs is {epochs}, but at most {}", u32::MAX)));
        }
        if self.patience == Some(0) {
            return Err(Error::config("patience is 0, but it must be at least 1"));
        }
        Ok(())
    }
}
