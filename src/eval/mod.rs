//! Evaluation of models.

mod codes;
mod importance;
mod latents;
mod measure;
mod pareto;
mod proposal;
mod roc;
mod ssim;

pub use codes::codes;
pub use importance::{ImportanceSampling, LogLikelihood, log_likelihood};
pub use latents::{ACTIVE_UNIT, LatentStatistics};
pub(crate) use latents::{LatentSums, LatentTotals, ReadSums};

pub use measure::Measure;
pub use proposal::{FittedGaussian, FromPosterior, Propose, log_weights};
pub use roc::{Roc, RocPoint};
pub use ssim::{SCALE_WEIGHTS, ms_ssim, ssim};

use std::fmt;
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::data::{BatchLoader, Checked, Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::noise::{NoiseSource, check_noise};
use crate::objective::{Inputs, Objective};

/// The means of an objective's terms over a data set, in nats per example.
///
/// `Display` names every value and says what it measures.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// Negative evidence lower bound, or the bound that the objective reports in its place.
    pub nelbo: f64,
    /// The expected reconstruction error `-E_q log p(x|z)`, the distortion of Alemi et al. (2018);
    /// [`measure`](Self::measure) says what kind of quantity it is.
    pub distortion: f64,
    /// The divergence from the posterior to the prior; with the KL divergence, the rate of Alemi et
    /// al. (2018).
    pub divergence: f64,
    /// What the values measure: likelihood, density or cross-entropy.
    pub measure: Measure,
    /// How the data were prepared.
    pub protocol: Protocol,
    /// The number of values per example that the likelihood covers.
    pub num_values: usize,
    /// Statistics of each latent dimension, if the objective provides them.
    pub latents: Option<LatentStatistics>,
}

impl Evaluation {
    /// Returns the bound in bits per dimension, `nelbo / (D ln 2)`; see
    /// [`LogLikelihood::bits_per_dim`].
    pub fn bits_per_dim(&self, log_det: f64) -> Option<f64> {
        self.measure.bits_per_dim(self.nelbo, self.num_values, log_det)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nelbo, distortion, divergence, measure, protocol, .. } = self;
        write!(
            f,
            "nelbo={nelbo:.2} distortion={distortion:.2} divergence={divergence:.2} ({protocol}; {measure})"
        )
    }
}

/// Evaluates an objective on a data set; all examples have equal weight.
///
/// The noise of a batch depends only on `noise` and the batch's index, so repeated calls return
/// equal values.
///
/// # Errors
/// If `batch_size` or `num_samples` is 0 or too large, if the examples do not fit the model, or if
/// an example cannot be read or contains a value outside the likelihood's range: outside `[0, 1]`
/// for bits, or not finite.
pub fn evaluate<M: Model>(
    model: &M,
    objective: &(impl Objective<M> + ?Sized),
    examples: Arc<dyn Examples>,
    batch_size: usize,
    num_samples: usize,
    noise: NoiseSource,
) -> Result<Evaluation> {
    let model = model.valid();
    Error::check_columns("the data", [examples.len(), examples.dim()], model.data_dim())?;
    check_noise(num_samples, batch_size.min(examples.len()), model.noise().dim())?;
    objective.check_samples(num_samples)?;
    let device = model.devices().first().cloned().unwrap_or_default();
    let (count, protocol) = (examples.len() as f64, examples.protocol());
    let num_values = model.num_values();
    let mut sums = [0.0; 3];
    let mut latents = LatentTotals::default();
    let examples = Arc::new(Checked::for_bounds(examples, &model).noting_others());
    for batch in BatchLoader::ordered(examples.clone(), batch_size, &device)?.epoch() {
        let batch = batch.map_err(|error| Error::around(error, ErrorKind::Data))?;
        let size = batch.x.dims()[0];
        let eps = noise.draw_for(batch.step, num_samples, size, &model.noise(), &device);
        let inputs = Inputs::new(batch.x, eps).with_seed(noise.seed_at(batch.step)).with_latents();
        let terms = objective.terms(&model, inputs);
        if let Some(found) = &terms.latents {
            let sums = LatentSums::of(found).read();
            latents.add(&sums.map_err(|error| Error::around(error, ErrorKind::Backend))?);
        }
        let terms = Tensor::cat(vec![terms.nelbo, terms.distortion, terms.divergence], 0);
        let terms = terms.try_into_data();
        let terms = terms.map_err(|error| Error::around(error, ErrorKind::Backend))?;
        for (i, term) in terms.iter::<f64>().enumerate() {
            sums[i / size] += term;
        }
    }
    let [nelbo, distortion, divergence] = sums.map(|sum| sum / count);
    // Data without a declared protocol may contain values of probability zero.
    let measure = match Measure::of(model.support(), protocol) {
        Measure::Likelihood if examples.has_others() => Measure::CrossEntropy,
        measure => measure,
    };
    let latents = latents.statistics();
    Ok(Evaluation { nelbo, distortion, divergence, measure, protocol, num_values, latents })
}
