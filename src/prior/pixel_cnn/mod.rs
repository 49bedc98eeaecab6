mod gated;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use self::gated::GatedLayer;
use super::codes::log_prob_of_codes;
use super::{CodeDistribution, Distribution, Prior};
use crate::config::ModuleConfig;
use crate::encoder::QuantizingEncoder;
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::nn::{Activation, Init, affine, check_dim, linear};
use crate::phase::Phase;
use crate::posterior::{Codebook, Density};
use crate::seed::Seed;

/// Configuration of a [`PixelCnnPrior`].
///
/// | field | in [`new`](Self::new) | meaning | range |
/// |---|---|---|---|
/// | `height`, `width` | as given | positions of a code | at least 1 |
/// | `codes` | as given | number of codes of an index | at least 2 |
/// | `quantizers` | 1 | indices at a position, as residual quantisers give | 1 to 1,024 |
/// | `channels` | 32 | channels of each layer | at least 1 |
/// | `layers` | 8 | gated layers; the first sees positions up to 2 away, the others 1 | 1 to 1,024 |
/// | `init` | Glorot uniform | distribution of the initial weights | |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelCnnPriorConfig {
    /// Number of rows of positions.
    pub height: usize,
    /// Number of positions in a row.
    pub width: usize,
    /// Number of codes of an index.
    pub codes: usize,
    /// Number of indices at a position.
    #[serde(default = "one")]
    pub quantizers: usize,
    /// Channels of each layer.
    pub channels: usize,
    /// Number of gated layers.
    pub layers: usize,
    /// Distribution of the initial weights.
    #[serde(default)]
    pub init: Init,
}

impl PixelCnnPriorConfig {
    /// Describes a prior over `height * width` positions with one of `codes` codes each.
    pub fn new(height: usize, width: usize, codes: usize) -> Self {
        let (channels, layers, init) = (32, 8, Init::default());
        Self { height, width, codes, quantizers: 1, channels, layers, init }
    }
}

fn one() -> usize {
    1
}

/// More layers, or more indices at a position, are treated as a mistake.
const MAX_LAYERS: usize = 1 << 10;
const MAX_QUANTIZERS: usize = 1 << 10;

/// Samples to draw at once.
const BLOCK: usize = 256;

/// A gated PixelCNN over the codes of positions (van den Oord et al. 2016, "Conditional Image
/// Generation with PixelCNN Decoders", section 2), the prior of a two-stage model (van den Oord et
/// al. 2017, section 3.3).
///
/// `log p(z) = sum_i log p(z_i | z_1, ..., z_(i-1))` over the positions, row by row. A vertical stack
/// of convolutions sees the rows above a position, a horizontal one the positions to its left and,
/// at each layer, the vertical stack. A layer is `tanh(a) * sigmoid(b)` of the two halves of its
/// convolution.
///
/// Where a position has several indices, they follow each other within it. The network sees the sum of
/// an embedding of each; the logits of an index see the ones before it at the same position through
/// another embedding.
///
/// It is trained on the codes of a trained model:
///
/// ```no_run
/// # use std::sync::Arc;
/// # use burn_vae::data::Examples;
/// use burn_vae::prior::PixelCnnPriorConfig;
/// use burn_vae::train::{TrainConfig, Trainer};
/// use burn_vae::{ModuleConfig, Seed, presets};
///
/// # fn example(train: Arc<dyn Examples>, test: Arc<dyn Examples>) -> burn_vae::Result<()> {
/// # let device = burn::tensor::Device::flex();
/// let first = presets::vq_vae([28, 28, 1], 64, 256, 16);
/// let vae = first.init(Seed::new(0), &device)?;
/// let plan = TrainConfig::default();
/// let vae = Trainer::new(plan).fit(vae, train.clone(), test.clone())?.model;
///
/// let prior = PixelCnnPriorConfig::new(7, 7, 256);
/// let vae = vae.with_prior(prior.init(Seed::new(1), &device)?)?;
/// let vae = Trainer::new(plan).fit(vae.frozen()?, train, test)?.model.thawed();
/// let images = vae.sample(100, 0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct PixelCnnPrior {
    /// `[quantizers * codes, channels]`
    embedding: Param<Tensor<2>>,
    layers: Vec<GatedLayer>,
    /// Of the indices before another one at the same position, `[(quantizers - 1) * codes, channels]`.
    within: Option<Param<Tensor<2>>>,
    hidden: Linear,
    /// To `quantizers * codes` values.
    logits: Linear,
    #[module(skip)]
    size: [usize; 2],
    #[module(skip)]
    quantizers: usize,
}

impl PixelCnnPrior {
    /// Returns the number of codes of an index.
    fn codes(&self) -> usize {
        self.embedding.dims()[0] / self.quantizers
    }

    /// Returns the features of each position, which depend on those before it.
    ///
    /// # Shapes
    /// - `indices`: `[n, rows * width * quantizers]`, the first rows
    /// - output: `[n, rows, width, channels]`
    fn features(&self, indices: Tensor<2, Int>) -> Tensor<4> {
        let ([n, given], [_, channels]) = (indices.dims(), self.embedding.dims());
        let positions = given / self.quantizers;
        let codes =
            self.embedded(&self.embedding, indices.reshape([n * positions, self.quantizers]));
        let codes = codes.reshape([n, positions / self.size[1], self.size[1], channels]);
        let start = [codes.clone(), codes];
        let [_, left] = self.layers.iter().fold(start, |stacks, layer| layer.forward(stacks));
        left
    }

    /// Returns the sum of the embeddings of the indices of each row, `[rows, channels]`. Each column has
    /// rows of its own in the table.
    fn embedded(&self, table: &Param<Tensor<2>>, indices: Tensor<2, Int>) -> Tensor<2> {
        let ([rows, columns], [_, channels]) = (indices.dims(), table.dims());
        let first = (0..columns).map(|column| (column * self.codes()) as i64).collect::<Vec<_>>();
        let first = Tensor::<1, Int>::from_data(first.as_slice(), &indices.device());
        let places = (indices + first.unsqueeze_dim(0)).reshape([rows * columns]);
        let each = table.val().select(0, places);
        match columns {
            1 => each,
            _ => each.reshape([rows, columns, channels]).sum_dim(1).squeeze_dim(1),
        }
    }

    /// Returns the log-probabilities of all codes of the next index at a position, given those before it
    /// there.
    ///
    /// # Shapes
    /// - `features`: `[rows, channels]`
    /// - `before`: `[rows, indices]`, fewer than there are quantisers; none for the first
    /// - output: `[rows, codes]`
    fn log_probs_of(&self, features: Tensor<2>, before: Option<Tensor<2, Int>>) -> Tensor<2> {
        let quantizer = before.as_ref().map_or(0, |before| before.dims()[1]);
        let features = match (&self.within, before) {
            (Some(within), Some(before)) => features + self.embedded(within, before),
            _ => features,
        };
        let features = activation::relu(features);
        let hidden = linear(&self.hidden, features, Some(Activation::Relu));
        let logits = match (self.quantizers, &self.logits.bias) {
            (2.., Some(bias)) => {
                let (start, codes) = (quantizer * self.codes(), self.codes());
                let weight = self.logits.weight.val().narrow(1, start, codes);
                affine(hidden, weight, bias.val().narrow(0, start, codes), None)
            }
            _ => linear(&self.logits, hidden, None),
        };
        activation::log_softmax(logits, 1)
    }

    /// Draws the indices of `n` codes, one after the other, and calls `progress` with the number of
    /// indices that are done and that of all.
    ///
    /// # Shapes
    /// - output: `[n, height * width * quantizers]`
    pub fn sample_indices(
        &self,
        n: usize,
        seed: Seed,
        mut progress: impl FnMut(usize, usize),
    ) -> Tensor<2, Int> {
        let model = self.valid();
        let ([height, width], device) = (model.size, model.embedding.device());
        let (quantizers, codes) = (model.quantizers, model.codes());
        let all = height * width * quantizers;
        let mut drawn = vec![0i64; n * all];
        let mut done = 0;
        for (block, drawn) in drawn.chunks_mut(BLOCK * all).enumerate() {
            let (seed, n_block) = (seed.at(block as u64), drawn.len() / all);
            // The indices of all codes of the block, in a range of places.
            let part = |drawn: &[i64], places: std::ops::Range<usize>| {
                let shape = [n_block, places.len()];
                let part = drawn.chunks_exact(all).flat_map(|code| &code[places.clone()]);
                let part = TensorData::new::<i64, _>(part.copied().collect(), shape);
                Tensor::<2, Int>::from_data(part, &device)
            };
            for position in 0..height * width {
                let (row, column) = (position / width, position % width);
                // The rows below have no influence.
                let features = model.features(part(drawn, 0..(row + 1) * width * quantizers));
                let here = features.narrow(1, row, 1).narrow(2, column, 1).flatten::<2>(1, 3);
                let start = position * quantizers;
                for place in start..start + quantizers {
                    let before = (place > start).then(|| part(drawn, start..place));
                    let log_probs = model.log_probs_of(here.clone(), before);
                    let log_probs = log_probs.into_data().iter::<f64>().collect::<Vec<_>>();
                    let mut rng = seed.child("position").at(place as u64).rng();
                    let log_probs = log_probs.chunks_exact(codes);
                    for (code, log_probs) in drawn.chunks_exact_mut(all).zip(log_probs) {
                        code[place] = draw(log_probs, rng.random()) as i64;
                    }
                    done += n_block;
                    progress(done, n * all);
                }
            }
        }
        Tensor::from_data(TensorData::new::<i64, _>(drawn, [n, all]), &device)
    }
}

/// Returns the first index at which the cumulative probability exceeds `u`.
fn draw(log_probs: &[f64], u: f64) -> usize {
    let total = log_probs.iter().map(|log_p| log_p.exp()).sum::<f64>();
    let mut rest = u * total;
    let found = log_probs.iter().position(|log_p| {
        rest -= log_p.exp();
        rest < 0.0
    });
    found.unwrap_or(log_probs.len() - 1)
}

impl ModuleConfig for PixelCnnPriorConfig {
    type Module = PixelCnnPrior;

    fn init(&self, seed: Seed, device: &Device) -> Result<PixelCnnPrior> {
        let Self { height, width, codes, quantizers, channels, layers, init } = *self;
        for (name, dim) in [
            ("height", height),
            ("width", width),
            ("quantizers", quantizers),
            ("channels", channels),
            ("layers", layers),
        ] {
            check_dim(name, dim)?;
        }
        if quantizers > MAX_QUANTIZERS {
            return Err(Error::config(format!(
                "quantizers is {quantizers}, but it must be at most {MAX_QUANTIZERS}"
            )));
        }
        if layers > MAX_LAYERS {
            return Err(Error::config(format!(
                "layers is {layers}, but it must be at most {MAX_LAYERS}"
            )));
        }
        if codes < 2 {
            return Err(Error::config(format!("codes is {codes}, but it must be at least 2")));
        }
        if height.checked_mul(width).is_none_or(|positions| positions > 1 << 20) {
            return Err(Error::config(format!("{height} x {width} positions are too many")));
        }
        // Where twice the channels overflows, `linear` refuses the saturated width as too large.
        let wide = channels.saturating_mul(2);
        let hidden = init.linear(channels, wide, seed.child("hidden"), device)?;
        let all = codes.saturating_mul(quantizers);
        let logits = init.linear(wide, all, seed.child("logits"), device)?;
        let embedding = init.linear(all, channels, seed.child("embedding"), device)?.weight;
        let within = match quantizers {
            1 => None,
            _ => Some(init.linear(all - codes, channels, seed.child("within"), device)?.weight),
        };
        let layer = |i| GatedLayer::new(i == 0, self, seed.child("layers").at(i as u64), device);
        let layers = (0..layers).map(layer).collect::<Result<_>>()?;
        let size = [height, width];
        Ok(PixelCnnPrior { embedding, layers, within, hidden, logits, size, quantizers })
    }
}

impl<E: QuantizingEncoder> Prior<E> for PixelCnnPrior {
    type Bound = BoundPixelCnn<E::Codebook>;

    fn bind(&self, encoder: &E, _phase: Phase) -> Self::Bound {
        BoundPixelCnn { network: self.clone(), codebook: encoder.codebook() }
    }

    fn check(&self, encoder: &E) -> Result<()> {
        let codebook = encoder.codebook();
        let ([height, width], quantizers, codes) = (self.size, self.quantizers, self.codes());
        let theirs = codebook.quantizers();
        let indices = codebook.groups(encoder.latent_dim()) * theirs;
        // Several indices of a group may also be positions of their own.
        if indices != height * width * quantizers || ![1, theirs].contains(&quantizers) {
            let each = match quantizers {
                1 => "one index".to_string(),
                _ => format!("{quantizers} indices"),
            };
            return Err(Error::config(format!(
                "the prior is over {height} x {width} positions with {each} each, but a code has \
                 {indices} indices in groups of {theirs}"
            )));
        }
        if codebook.codes() != codes {
            return Err(Error::config(format!(
                "the prior is over {codes} codes of an index, but the encoder has {}",
                codebook.codes()
            )));
        }
        Ok(())
    }
}

/// A [`PixelCnnPrior`], bound to a codebook.
#[derive(Clone, Debug)]
pub struct BoundPixelCnn<C> {
    network: PixelCnnPrior,
    codebook: C,
}

impl<C: Codebook> Density for BoundPixelCnn<C> {
    fn log_prob(&self, z: Tensor<3>) -> Tensor<2> {
        log_prob_of_codes(self, &self.codebook, z)
    }
}

impl<C: Codebook> CodeDistribution for BoundPixelCnn<C> {
    type Codebook = C;

    fn log_probs(&self, indices: Tensor<2, Int>) -> Tensor<2> {
        let ([n, all], quantizers) = (indices.dims(), self.network.quantizers);
        let features = self.network.features(indices.clone());
        let [_, _, _, channels] = features.dims();
        let rows = n * all / quantizers;
        let (features, indices) =
            (features.reshape([rows, channels]), indices.reshape([rows, quantizers]));
        let each = (0..quantizers).map(|quantizer| {
            let before = (quantizer > 0).then(|| indices.clone().narrow(1, 0, quantizer));
            let log_probs = self.network.log_probs_of(features.clone(), before);
            log_probs.gather(1, indices.clone().narrow(1, quantizer, 1))
        });
        Tensor::cat(each.collect(), 1).reshape([n, all])
    }
}

impl<C: Codebook> Distribution for BoundPixelCnn<C> {
    fn sample(
        &self,
        num_samples: usize,
        _latent_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Tensor<2> {
        let indices = self.network.sample_indices(num_samples, seed, |_, _| {});
        let z = self.codebook.lookup(indices);
        match device.is_autodiff() && !z.device().is_autodiff() {
            true => Tensor::from_inner(z),
            false => z,
        }
    }

    fn detach(&self) -> Self {
        Self { network: self.network.clone().no_grad(), codebook: self.codebook.clone() }
    }

    fn latent_dim(&self) -> Option<usize> {
        let [height, width] = self.network.size;
        let indices = height * width * self.network.quantizers;
        Some(indices * self.codebook.columns() / self.codebook.quantizers())
    }

    fn support(&self) -> Support {
        Support::Codebook
    }
}
