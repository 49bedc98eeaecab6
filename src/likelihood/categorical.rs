use burn::module::Module;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use rand_distr::{Distribution, Gumbel};

use super::draw::host;
use super::{Likelihood, Support};
use crate::config::{ModuleConfig, named_config};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// Negative log-likelihood of categorical variables given by logits.
///
/// A variable with `C` classes is a one-hot vector `x`: 1 at its class and 0 elsewhere. For its
/// logits `l`
///
/// `-log p(x|l) = log sum_c exp(l_c) - sum_c x_c l_c`, with the gradient `softmax(l) - x`,
///
/// in nats, summed over the variables. An example concatenates its variables, each with `C`
/// classes, so `data_dim` is a multiple of `C`. The decoder outputs one logit per entry.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::Likelihood;
/// use burn_vae::likelihood::CategoricalNll;
///
/// let logits = Tensor::<3>::zeros([1, 1, 6], &Device::flex()); // two variables, equal odds
/// let x = Tensor::<2>::from_data([[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]], &Device::flex());
/// let nll = CategoricalNll::new(3)?.nll(logits, x).into_scalar::<f32>();
/// assert!((nll - 2.0 * 3f32.ln()).abs() < 1e-6);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Module, Debug, PartialEq)]
pub struct CategoricalNll {
    classes: usize,
}

impl CategoricalNll {
    /// Creates a likelihood of variables with `classes` classes each.
    ///
    /// # Errors
    /// If `classes` is less than 2.
    pub fn new(classes: usize) -> Result<Self> {
        if classes < 2 {
            return Err(Error::config(format!(
                "a categorical likelihood has {classes} classes, but it must have at least 2"
            )));
        }
        Ok(Self { classes })
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }
}

impl Likelihood for CategoricalNll {
    fn support(&self) -> Support {
        Support::OneHot(self.classes)
    }

    fn check(&self, data_dim: usize) -> Result<()> {
        if data_dim.is_multiple_of(self.classes) {
            return Ok(());
        }
        Err(Error::config(format!(
            "an example has {data_dim} values, but a categorical likelihood needs a multiple of \
             its {} classes",
            self.classes
        )))
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let [samples, batch, data_dim] = params.dims();
        let variables = data_dim / self.classes;
        let log_p = log_softmax(params.reshape([samples, batch, variables, self.classes]), 3);
        let x = x.reshape([1, batch, variables, self.classes]);
        (log_p * x).reshape([samples, batch, data_dim]).sum_dim(2).squeeze_dim(2).neg()
    }

    /// Returns the class probabilities.
    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        let [n, data_dim] = params.dims();
        softmax(params.reshape([n, data_dim / self.classes, self.classes]), 2)
            .reshape([n, data_dim])
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let (shape, device) = (params.dims(), params.device());
        let gumbel = Gumbel::<f64>::new(0.0, 1.0).expect("a positive scale");
        let mut rng = seed.rng();
        let mut x = Vec::with_capacity(shape[0] * shape[1]);
        for logits in host(params).chunks_exact(self.classes) {
            // Gumbel-max trick: the argmax of the logits plus Gumbel noise follows the softmax.
            let noisy = logits.iter().map(|logit| logit + gumbel.sample(&mut rng)).enumerate();
            let class = noisy.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(class, _)| class);
            x.extend((0..self.classes).map(|c| f32::from(u8::from(Some(c) == class))));
        }
        Tensor::from_data(TensorData::new::<f32, _>(x, shape), &device)
    }
}

named_config!(CategoricalNll, CategoricalNll { classes: usize });

impl ModuleConfig for CategoricalNll {
    type Module = Self;

    fn init(&self, _seed: Seed, _device: &Device) -> Result<Self> {
        Self::new(self.classes)
    }
}
