//! How good a model is.

mod latents;

pub use latents::{ACTIVE_UNIT, LatentStatistics};
pub(crate) use latents::{LatentSums, LatentTotals, ReadSums};

use std::sync::Arc;

use crate::data::{BatchLoader, Examples};
use crate::error::{Error, ErrorKind, Result};
use crate::noise::check_noise;
use crate::{Inputs, LatentVariableModel, NoiseSource, Objective};

/// The means of an objective's terms over a data set, in nats per example.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Negative evidence lower bound, or what the objective reports in its place.
    pub nelbo: f64,
    /// Negative log-likelihood.
    pub nll: f64,
    /// Divergence from the posterior to the prior.
    pub kl: f64,
    /// The latent dimensions one by one, where the objective can tell.
    pub latents: Option<LatentStatistics>,
}

/// Evaluates an objective on a data set; every example weighs the same.
///
/// The noise of a batch depends on `noise` and the number of the batch alone, so the same call
/// gives the same numbers.
///
/// # Errors
/// If `batch_size` or `num_samples` is zero or absurd, the examples do not fit the model, or one cannot be
/// read.
pub fn evaluate<M: LatentVariableModel>(
    model: &M,
    objective: &impl Objective<M>,
    examples: Arc<dyn Examples>,
    batch_size: usize,
    num_samples: usize,
    noise: NoiseSource,
) -> Result<Evaluation> {
    let model = model.valid();
    Error::check_columns("the data", [examples.len(), examples.dim()], model.data_dim())?;
    check_noise(num_samples, batch_size.min(examples.len()), model.noise_dim())?;
    let device = model.devices().first().cloned().unwrap_or_default();
    let count = examples.len() as f64;
    let mut sums = [0.0; 3];
    let mut latents = LatentTotals::default();
    for batch in BatchLoader::ordered(examples, batch_size, &device)?.epoch() {
        let batch = batch.map_err(|error| Error::around(error, ErrorKind::Data))?;
        let shape = [num_samples, batch.x.dims()[0], model.noise_dim()];
        let eps = noise.draw(batch.step, shape, &device);
        let inputs = Inputs::new(batch.x, eps).at(0, noise.seed_at(batch.step)).with_latents();
        let terms = objective.terms(&model, inputs);
        if let Some(found) = &terms.latents {
            let sums = LatentSums::of(found).read();
            latents.add(&sums.map_err(|error| Error::around(error, ErrorKind::Backend))?);
        }
        for (sum, term) in sums.iter_mut().zip([terms.nelbo, terms.nll, terms.divergence]) {
            *sum += term.into_data().iter::<f64>().sum::<f64>();
        }
    }
    let [nelbo, nll, kl] = sums.map(|sum| sum / count);
    Ok(Evaluation { nelbo, nll, kl, latents: latents.statistics() })
}
