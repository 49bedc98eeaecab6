use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};

use super::codebook::check_groups;
use super::{Codebook, Grid, Quantized, QuantizingHead};
use crate::config::named_config;
use crate::describe::{Describe, INPUT, Layer};
use crate::error::{Error, Result};
use crate::likelihood::Support;
use crate::math::{gradient_of, softplus};
use crate::nn::linear;
use crate::noise::NoiseShape;
use crate::phase::Phase;
use crate::posterior::{Family, Head, NewHead};

/// Maximum number of bits: the diversity needs the probabilities of all codes for each vector.
const MAX_BITS: usize = 12;

/// Lookup-free quantisation (Yu et al. 2024, section 3.1): posteriors whose columns are -1 or 1, the
/// signs of the features. The columns of a group form one of `2^bits` codes. The gradient is that of
/// the features (straight-through).
///
/// | field | in [`new`](Self::new) | meaning | range |
/// |---|---|---|---|
/// | `bits` | as given | columns of a group | 1 to 12 |
/// | `entropy` | 0.1 | weight of the entropy penalty | at least 0 |
/// | `diversity` | 1 | weight of the codes' entropy in it | at least 0 |
/// | `temperature` | 1 | scale of squared distances in it | above 0 |
/// | `commitment` | 0.25 | weight of the commitment loss | at least 0 |
///
/// With the features `y` of a group, `p(c|y)` proportional to `exp(-|y - c|^2 / temperature)` over all
/// codes `c`, and the code `z`, the penalty of an example is (ibid., eq. 5, in nats)
///
/// `entropy * (mean H[p(c|y)] - diversity * H[mean p(c|y)]) + commitment * mean |y - z|^2`.
///
/// The first and the last mean are over the groups of the example, the second over those of the batch.
/// Low entropies make codes certain, a high one makes all codes occur.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookupFreeFamily {
    /// Columns of a group.
    pub bits: usize,
    /// Weight of the entropy penalty.
    pub entropy: f64,
    /// Weight of the codes' entropy in it.
    pub diversity: f64,
    /// Scale of squared distances in it.
    pub temperature: f64,
    /// Weight of the commitment loss.
    pub commitment: f64,
}

named_config!(
    LookupFreeFamily,
    LookupFree { bits: usize, entropy: f64, diversity: f64, temperature: f64, commitment: f64 }
);

impl LookupFreeFamily {
    /// Describes codes of the given number of bits.
    pub fn new(bits: usize) -> Self {
        Self { bits, entropy: 0.1, diversity: 1.0, temperature: 1.0, commitment: 0.25 }
    }

    /// The codes.
    ///
    /// # Errors
    /// If a field is out of range.
    pub fn grid(&self) -> Result<Grid> {
        let Self { bits, entropy, diversity, temperature, commitment } = *self;
        if !(1..=MAX_BITS).contains(&bits) {
            return Err(Error::config(format!("bits is {bits}, but it must be 1 to {MAX_BITS}")));
        }
        for (name, value) in
            [("entropy", entropy), ("diversity", diversity), ("commitment", commitment)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::config(format!(
                    "{name} is {value}, but it must be at least 0 and finite"
                )));
            }
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::config(format!(
                "temperature is {temperature}, but it must be above 0 and finite"
            )));
        }
        Grid::new(vec![2; bits])
    }

    /// Quantises features, `[batch, latent_dim]`, with the penalty of training.
    ///
    /// # Errors
    /// If a field is out of range.
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    pub fn learn(&self, features: Tensor<2>) -> Result<Quantized<Grid>> {
        Ok(self.with_penalty(features, self.grid()?))
    }

    /// Quantises features to the codes of the family, with the penalty of training.
    fn with_penalty(&self, features: Tensor<2>, grid: Grid) -> Quantized<Grid> {
        let q = Quantized::lookup_free(features.clone(), grid);
        let [batch, latent_dim] = features.dims();
        let groups = latent_dim / self.bits;
        let errors = (features.clone() - q.z.clone().detach()).square().sum_dim(1);
        let errors = errors.div_scalar(groups as f64).squeeze_dim::<1>(1);
        // The logits of the bits: -|y - c|^2 differs by 4 y between c = 1 and c = -1.
        let logits = features.mul_scalar(4.0 / self.temperature);
        let certain = softplus(logits.clone()) - logits.clone() * sigmoid(logits.clone());
        let certain = certain.sum_dim(1).div_scalar(groups as f64).squeeze_dim::<1>(1);
        let diverse = self.entropy_of_mean(logits.reshape([batch * groups, self.bits]));
        let entropy = certain - diverse.mul_scalar(self.diversity).expand([batch]);
        let penalty = entropy.mul_scalar(self.entropy) + errors.mul_scalar(self.commitment);
        q.with_penalty(penalty)
    }

    /// The entropy of the mean of the codes' probabilities, `[1]`, given the logits of the bits,
    /// `[rows, bits]`.
    fn entropy_of_mean(&self, logits: Tensor<2>) -> Tensor<1> {
        let codes = 1usize << self.bits;
        let bits =
            (0..self.bits * codes).map(|i| ((i % codes) >> (i / codes) & 1) as f32).collect();
        let bits = TensorData::new::<f32, _>(bits, [self.bits, codes]);
        let bits = Tensor::from_data(bits, &logits.device());
        let total = softplus(logits.clone()).sum_dim(1);
        let mean = (logits.matmul(bits) - total).exp().mean_dim(0);
        // The smallest normal number has an entropy of 1e-36.
        let log = mean.clone().clamp_min(f64::from(f32::MIN_POSITIVE)).log();
        (mean * log).sum().neg()
    }
}

/// Lookup-free quantisation.
impl Quantized<Grid> {
    /// Quantises features, `[batch, latent_dim]`, to their signs; see [`LookupFreeFamily`]. Zero
    /// counts as negative.
    ///
    /// # Panics
    /// If the columns do not divide into groups of the grid, or if its columns do not have two levels.
    pub fn lookup_free(features: Tensor<2>, grid: Grid) -> Self {
        assert!(grid.levels().iter().all(|n| *n == 2), "{:?} is not of bits", grid.levels());
        let is_above = features.clone().detach().greater_scalar(0.0).float();
        Self::new(is_above.mul_scalar(2.0).sub_scalar(1.0) + gradient_of(features), grid)
    }
}

/// A linear layer that outputs the features of a [`LookupFreeFamily`].
#[derive(Module, Debug)]
pub struct LookupFreeHead {
    features: Linear,
    #[module(skip)]
    family: LookupFreeFamily,
    #[module(skip)]
    grid: Grid,
}

impl Family for LookupFreeFamily {
    type Head = LookupFreeHead;

    fn init(&self, new: &NewHead) -> Result<LookupFreeHead> {
        let grid = self.grid()?;
        check_groups("latent_dim", new.latent_dim, grid.columns())?;
        let features = new.linear("features")?;
        Ok(LookupFreeHead { features, family: *self, grid })
    }
}

impl Head for LookupFreeHead {
    type Posterior = Quantized<Grid>;

    fn latent_dim(&self) -> usize {
        self.features.weight.dims()[1]
    }

    fn latent_support(&self) -> Support {
        Support::Codebook
    }

    fn noise(&self) -> NoiseShape {
        NoiseShape::default()
    }

    fn forward(&self, features: Tensor<2>, phase: Phase) -> Quantized<Grid> {
        let features = linear(&self.features, features, None);
        match phase {
            Phase::Train { .. } => self.family.with_penalty(features, self.grid),
            Phase::Eval => Quantized::lookup_free(features, self.grid),
        }
    }
}

impl QuantizingHead for LookupFreeHead {
    type Codebook = Grid;

    fn codebook(&self) -> Grid {
        self.grid
    }
}

impl Describe for LookupFreeHead {
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::linear("features", "Linear", &self.features).after(INPUT)]
    }
}
