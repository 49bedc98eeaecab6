use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::codebook::check_groups;
use super::{CodeTable, Quantized, QuantizingHead, VectorQuantizer};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::nn::{MAX_WEIGHTS, check_dim, linear};
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Family, Head, NewHead};

/// More quantisers are treated as a mistake.
const MAX_QUANTIZERS: usize = 1 << 10;

/// The gradient of the features of a vector quantiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeGradient {
    /// The gradient of the codes (straight-through; van den Oord et al. 2017, section 3.2).
    #[default]
    StraightThrough,
    /// The gradient of the codes, turned and scaled like the features on the way to their codes
    /// (Fifty et al. 2024, section 4.2).
    Rotation,
}

/// Vector quantisation (van den Oord et al. 2017): posteriors whose groups of columns are vectors
/// from a codebook, those nearest to the features.
///
/// | field | in [`new`](Self::new) | meaning | range |
/// |---|---|---|---|
/// | `codes` | as given | number of vectors of a quantiser | 2 to 2^24 |
/// | `columns` | as given | length of a vector | at least 1 |
/// | `quantizers` | 1 | quantisers in a row, each of what the ones before left over | 1 to 1,024 |
/// | `commitment` | 0.25 | weight of the commitment loss | at least 0 |
/// | `decay` | 0.99 | share of the old value in the moving averages of the vectors | 0 to below 1 |
/// | `dead_share` | 0.1 | a vector chosen less often than this share of the mean is replaced; 0 for never | 0 to below 1 |
/// | `gradient` | straight-through | gradient of the features | |
///
/// With features `y` and the code `e` of a group, the loss of an example is (ibid., eq. 3)
///
/// `-log p(x|e) + commitment * mean over groups of |y - e|^2`,
///
/// where `e` is constant in the second term, and the vectors follow the features by moving averages
/// (ibid., appendix A.1, with the smoothed counts of the authors' code) instead of a third term.
/// Other implementations average the commitment loss over the columns too: divide their weight by
/// `columns`.
///
/// Several quantisers are residual quantisation (Zeghidour et al. 2021, section III-C; Lee et al.
/// 2022, eq. 2): the code is the sum of their vectors, and `|y - e|^2` is summed over the partial
/// sums (Lee et al., eq. 6).
///
/// The history and the lines of a training show how many codes are in use; see
/// [`Usage`](super::Usage).
///
/// ```
/// use burn::tensor::Device;
/// use burn_vae::decoder::MlpDecoderConfig;
/// use burn_vae::encoder::MlpEncoderConfig;
/// use burn_vae::posterior::VectorQuantizedFamily;
/// use burn_vae::prior::UniformCodes;
/// use burn_vae::{BernoulliNll, ModuleConfig, Seed, VaeConfig};
///
/// // Codes of 4 groups, each one of 512 vectors of length 16.
/// let config = VaeConfig {
///     encoder: MlpEncoderConfig::new(784, [256], 4 * 16)
///         .with_posterior(VectorQuantizedFamily::new(512, 16)),
///     decoder: MlpDecoderConfig::new(4 * 16, [256], 784),
///     likelihood: BernoulliNll,
///     prior: UniformCodes,
/// };
/// let vae = config.init(Seed::new(0), &Device::flex())?;
/// let indices = vae.encode_indices(vae.sample(3, 0)?)?;
/// assert_eq!(indices.dims(), [3, 4]);
/// assert_eq!(vae.decode_indices(indices)?.dims(), [3, 784]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorQuantizedFamily {
    /// Number of vectors of a quantiser.
    pub codes: usize,
    /// Length of a vector.
    pub columns: usize,
    /// Number of quantisers.
    pub quantizers: usize,
    /// Weight of the commitment loss.
    pub commitment: f64,
    /// Share of the old value in the moving averages of the vectors.
    pub decay: f64,
    /// A vector that is chosen less often than this share of the mean is replaced.
    pub dead_share: f64,
    /// Gradient of the features.
    pub gradient: CodeGradient,
}

impl VectorQuantizedFamily {
    /// Describes a single quantiser with `codes` vectors of length `columns`.
    pub fn new(codes: usize, columns: usize) -> Self {
        Self {
            codes,
            columns,
            quantizers: 1,
            commitment: 0.25,
            decay: 0.99,
            dead_share: 0.1,
            gradient: CodeGradient::default(),
        }
    }

    /// Sets the number of quantisers.
    pub fn with_quantizers(self, quantizers: usize) -> Self {
        Self { quantizers, ..self }
    }

    /// Sets the gradient of the features.
    pub fn with_gradient(self, gradient: CodeGradient) -> Self {
        Self { gradient, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        let Self { codes, columns, quantizers, commitment, decay, dead_share, .. } = *self;
        check_dim("columns", columns)?;
        if !(1..=MAX_QUANTIZERS).contains(&quantizers) {
            return Err(Error::config(format!(
                "quantizers is {quantizers}, but it must be 1 to {MAX_QUANTIZERS}"
            )));
        }
        // The second bound keeps counts exact.
        if !(2..=1 << 24).contains(&codes) {
            return Err(Error::config(format!("codes is {codes}, but it must be 2 to 2^24")));
        }
        let size = codes.checked_mul(columns).and_then(|size| size.checked_mul(quantizers));
        if size.is_none_or(|size| size > MAX_WEIGHTS) {
            return Err(Error::config(format!(
                "{quantizers} quantisers of {codes} vectors of {columns} values are too many"
            )));
        }
        if !(commitment >= 0.0 && commitment.is_finite()) {
            return Err(Error::config(format!(
                "commitment is {commitment}, but it must be at least 0 and finite"
            )));
        }
        for (name, value) in [("decay", decay), ("dead_share", dead_share)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::config(format!(
                    "{name} is {value}, but it must be at least 0 and below 1"
                )));
            }
        }
        Ok(())
    }
}

named_config!(
    VectorQuantizedFamily,
    VectorQuantized {
        codes: usize,
        columns: usize,
        quantizers: usize,
        commitment: f64,
        decay: f64,
        dead_share: f64,
        gradient: CodeGradient
    }
);

/// A linear layer that outputs features, and the codebook that they are quantised with.
#[derive(Module, Debug)]
pub struct VectorQuantizedHead {
    features: Linear,
    quantizer: VectorQuantizer,
}

impl VectorQuantizedHead {
    /// The codebook and its training.
    pub fn quantizer(&self) -> &VectorQuantizer {
        &self.quantizer
    }
}

impl Family for VectorQuantizedFamily {
    type Head = VectorQuantizedHead;

    fn init(&self, new: &NewHead) -> Result<VectorQuantizedHead> {
        let quantizer = VectorQuantizer::new(*self, new.seed.child("quantizer"), new.device)?;
        check_groups("latent_dim", new.latent_dim, self.columns)?;
        let features = new.linear("features")?;
        Ok(VectorQuantizedHead { features, quantizer })
    }
}

impl Head for VectorQuantizedHead {
    type Posterior = Quantized<CodeTable>;

    fn latent_dim(&self) -> usize {
        self.features.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::Codebook
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::default()
    }

    /// A head whose weights are fixed leaves the codebook as it is, in training too.
    fn forward(&self, features: Tensor<2>, phase: Phase) -> Quantized<CodeTable> {
        let is_learning = self.features.weight.is_require_grad();
        let features = linear(&self.features, features, None);
        match phase.step().filter(|_| is_learning) {
            Some(step) => self.quantizer.learn(features, step),
            None => self.quantizer.quantize(features),
        }
    }
}

impl QuantizingHead for VectorQuantizedHead {
    type Codebook = CodeTable;

    fn codebook(&self) -> CodeTable {
        self.quantizer.codebook()
    }
}

impl Describe for VectorQuantizedHead {
    fn layers(&self) -> Vec<Layer> {
        let VectorQuantizedFamily { codes, columns, .. } = self.quantizer.family();
        let output = self.features.weight.dims()[1];
        vec![
            Layer::linear("features", "Linear", &self.features).after(INPUT),
            Layer::new(
                "quantizer",
                format!("Codebook {codes} x {columns}"),
                [output],
                &self.quantizer,
            ),
        ]
    }
}
