use std::sync::Arc;

use burn::tensor::Tensor;

use crate::data::{BatchLoader, Examples};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::noise::{NoiseSource, check_rows};
use crate::phase::Phase;
use crate::posterior::Posterior;

/// Returns the codes of a data set, `[examples, latent_dim]`: the posterior means or, given noise, one
/// sample of each posterior.
///
/// # Errors
/// If `batch_size` is 0 or too large, if the examples do not fit the model or cannot be read, or if the
/// codes exceed 2^30 values in total.
pub fn codes<M: Model>(
    model: &M,
    examples: Arc<dyn Examples>,
    batch_size: usize,
    noise: Option<NoiseSource>,
) -> Result<Tensor<2>> {
    let model = model.valid();
    Error::check_columns("the data", [examples.len(), examples.dim()], model.data_dim())?;
    check_rows("codes", examples.len(), model.latent_dim())?;
    let device = model.devices().first().cloned().unwrap_or_default();
    let mut codes = Vec::new();
    for batch in BatchLoader::ordered(examples, batch_size, &device)?.epoch() {
        let batch = batch.map_err(|error| Error::around(error, ErrorKind::Data))?;
        let q = model.posterior(batch.x, Phase::Eval);
        codes.push(match noise {
            None => q.mean(),
            Some(noise) => {
                let size = q.dims()[0];
                let eps = noise.draw_for(batch.step, 1, size, &model.noise(), &device);
                q.draw(eps, noise.seed_at(batch.step)).z.squeeze_dim(0)
            }
        });
    }
    Ok(Tensor::cat(codes, 0))
}
