//! What a page takes from a model: plain values, read when the model is at hand.

use burn::tensor::{Tensor, TensorData};

use super::network::{Step, cost, steps};
use crate::data::Examples;
use crate::decoder::Decoder;
use crate::describe::Describe;
use crate::encoder::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::Pca;
use crate::likelihood::{InverseLink, Likelihood, Support};
use crate::phase::Phase;
use crate::posterior::Posterior;
use crate::prior::{Distribution, Prior, StandardNormal};
use crate::seed::Seed;
use crate::summary::Summary;
use crate::vae::Vae;

/// A model as its page shows it.
pub(super) struct Model {
    pub(super) data_dim: usize,
    pub(super) latent_dim: usize,
    pub(super) summary: Summary,
    pub(super) live: Option<Live>,
    pub(super) samples: Decoded,
    pub(super) shown: Option<Shown>,
}

/// The networks of a model that the page runs.
pub(super) struct Live {
    pub(super) encoder: Option<Vec<Step>>,
    pub(super) decoder: Vec<Step>,
    pub(super) weights: Vec<f32>,
    pub(super) inverse_link: InverseLink,
    /// Whether the prior is the standard normal distribution.
    pub(super) is_standard: bool,
}

/// Examples and what the model makes of them.
pub(super) struct Shown {
    pub(super) image: Option<[usize; 3]>,
    pub(super) labels: Option<Vec<u8>>,
    pub(super) count: usize,
    pub(super) values: Vec<f32>,
    /// Of codes with more than two dimensions.
    pub(super) components: Option<Components>,
    /// Rows of the codes' first components or, without components, the codes.
    pub(super) coordinates: Vec<f32>,
    pub(super) reconstructions: Decoded,
    /// Rows of [`STEPS`]; none between codes that are not real numbers.
    pub(super) interpolations: Option<Decoded>,
}

/// The first principal components of the codes.
pub(super) struct Components {
    pub(super) mean: Vec<f32>,
    /// Row by row.
    pub(super) axes: Vec<f32>,
    pub(super) variances: Vec<f64>,
    /// Each one's share of the variance of the codes.
    pub(super) shares: Vec<f64>,
}

/// Codes, and the means of the data that a decoder makes of them.
pub(super) struct Decoded {
    pub(super) codes: Vec<f32>,
    pub(super) means: Vec<f32>,
}

/// Steps of an interpolation.
pub(super) const STEPS: usize = 12;
/// Number of examples of a page, of samples and of interpolations.
const EXAMPLES: usize = 500;
const SAMPLES: usize = 60;
const INTERPOLATIONS: usize = 6;
/// Maximum number of principal components of a page.
const COMPONENTS: usize = 10;
/// Maximum number of values of all examples. Larger ones are fewer.
const MAX_VALUES: usize = 1 << 21;
/// Rows that go through the networks at once.
const ROWS: usize = 50;

/// Maximum number of weights that a page carries, about 3 MB, and of multiplications to decode a code,
/// some 40 ms.
const MAX_WEIGHTS: usize = 1 << 20;
const MAX_WORK: usize = 1 << 25;

impl Model {
    pub(super) fn of<E, D, L, P>(vae: &Vae<E, D, L, P>) -> Result<Self>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        let prior = vae.prior.bind(&vae.encoder, Phase::Eval);
        let codes = prior.sample(SAMPLES, vae.latent_dim(), Seed::new(0), &vae.device());
        Ok(Self {
            data_dim: vae.encoder.data_dim(),
            latent_dim: vae.latent_dim(),
            summary: Summary::of(vae),
            live: Live::of(vae)?,
            samples: Decoded::new(vae, codes)?,
            shown: None,
        })
    }

    /// Adds examples.
    pub(super) fn showing<E, D, L, P>(
        self,
        vae: &Vae<E, D, L, P>,
        examples: &(impl Examples + ?Sized),
        labels: Option<&[u8]>,
        image: Option<[usize; 3]>,
    ) -> Result<Self>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
        P: Prior<E>,
    {
        let (all, dim) = (examples.len(), examples.dim());
        let refuse = |message: String| Err(Error::new(ErrorKind::Data, message));
        if all == 0 {
            return refuse("there are no examples to show".into());
        }
        if let Some(labels) = labels.filter(|labels| labels.len() != all) {
            return refuse(format!("there are {} labels for {all} examples", labels.len()));
        }
        Error::check_columns("the data", [all, dim], self.data_dim)?;
        // Spread over the set, because it may be sorted by class.
        let count = all.min(EXAMPLES).min((MAX_VALUES / dim).max(1));
        let rows = (0..count).map(|i| i * all / count).collect::<Vec<_>>();
        let mut values = vec![0.0; count * dim];
        examples.read(&rows, &mut values)?;
        let batches = values.chunks(ROWS * dim).map(|batch| {
            let data = TensorData::new::<f32, _>(batch.to_vec(), [batch.len() / dim, dim]);
            Ok(vae.encode(Tensor::from_data(data, &vae.device()))?.mean())
        });
        let codes = Tensor::cat(batches.collect::<Result<Vec<_>>>()?, 0);
        let pca = self.latent_dim > 2 && count > 1;
        let pca = pca.then(|| Pca::fit(codes.clone())).transpose()?;
        let coordinates = match &pca {
            Some(pca) => pca.project(codes.clone(), self.latent_dim.min(COMPONENTS))?,
            None => codes.clone(),
        };
        // Between two codes of another kind are no codes.
        let is_real = vae.encoder.latent_support() == Support::Real;
        let between = is_real.then(|| Decoded::new(vae, interpolated(&codes)));
        let shown = Shown {
            image,
            labels: labels.map(|labels| rows.iter().map(|&row| labels[row]).collect()),
            count,
            values,
            components: pca.as_ref().map(Components::of),
            coordinates: read(coordinates)?,
            reconstructions: Decoded::new(vae, codes)?,
            interpolations: between.transpose()?,
        };
        Ok(Self { shown: Some(shown), ..self })
    }
}

impl Live {
    /// Returns the networks if they are sequences of operations and not too large, and if codes are real
    /// numbers: others would be decoded where there are no codes.
    fn of<E, D, L, P>(vae: &Vae<E, D, L, P>) -> Result<Option<Self>>
    where
        E: Encoder + Describe,
        D: Decoder + Describe,
        L: Likelihood,
        P: Prior<E> + 'static,
    {
        let (Some(decoder), Some(inverse_link), Support::Real) =
            (vae.decoder.stages(), vae.likelihood.inverse_link(), vae.encoder.latent_support())
        else {
            return Ok(None);
        };
        let encoder = vae.encoder.stages();
        let ([weights, work], theirs) = (cost(&decoder), encoder.as_deref().map_or([0; 2], cost));
        if weights + theirs[0] > MAX_WEIGHTS || work.max(theirs[1]) > MAX_WORK {
            return Ok(None);
        }
        let (data_dim, latent_dim) = (vae.encoder.data_dim(), vae.latent_dim());
        let mut weights = Vec::new();
        let encoder = encoder.map(|stages| {
            // Means, and the logarithms of variances.
            steps("encoder", stages, [data_dim, 2 * latent_dim], &mut weights)
        });
        let encoder = encoder.transpose()?;
        let sizes = [latent_dim, vae.decoder.output_dim()];
        Ok(Some(Self {
            encoder,
            decoder: steps("decoder", decoder, sizes, &mut weights)?,
            weights,
            inverse_link,
            is_standard: std::any::TypeId::of::<P>() == std::any::TypeId::of::<StandardNormal>(),
        }))
    }
}

impl Components {
    fn of(pca: &Pca) -> Self {
        let axes = pca.axes().iter().take(COMPONENTS).flatten();
        Self {
            mean: pca.mean().iter().map(|&mean| mean as f32).collect(),
            axes: axes.map(|&along| along as f32).collect(),
            variances: pca.variances().iter().copied().take(COMPONENTS).collect(),
            shares: pca.explained_variance_ratio().into_iter().take(COMPONENTS).collect(),
        }
    }
}

impl Decoded {
    fn new<E, D, L, P>(vae: &Vae<E, D, L, P>, codes: Tensor<2>) -> Result<Self>
    where
        E: Encoder,
        D: Decoder,
        L: Likelihood,
        P: Prior<E>,
    {
        let mut means = Vec::new();
        for batch in codes.clone().split(ROWS, 0) {
            means.extend(read(vae.decode(batch)?)?);
        }
        Ok(Self { codes: read(codes)?, means })
    }
}

/// Codes on the lines from the first few to the next one each.
fn interpolated(codes: &Tensor<2>) -> Tensor<2> {
    let some = codes.dims()[0].min(INTERPOLATIONS);
    let weight = (0..STEPS).map(|i| i as f32 / (STEPS - 1) as f32).collect::<Vec<_>>();
    let weight = Tensor::<1>::from_data(weight.as_slice(), &codes.device()).unsqueeze_dim::<2>(1);
    let lines = (0..some).map(|i| {
        let code = |i: usize| codes.clone().narrow(0, i, 1);
        let (from, to) = (code(i), code((i + 1) % some));
        from.clone() + (to - from) * weight.clone()
    });
    Tensor::cat(lines.collect(), 0)
}

fn read(tensor: Tensor<2>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data();
    Ok(data.map_err(|error| Error::around(error, ErrorKind::Backend))?.iter().collect())
}
