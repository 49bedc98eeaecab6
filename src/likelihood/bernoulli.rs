use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use super::{InverseLink, Likelihood, Support};
use crate::config::unit_config;
use crate::ops;
use crate::seed::Seed;

/// Negative log-likelihood of a Bernoulli distribution given by logits.
///
/// For the logit `l` of a value `x` in `[0, 1]`
///
/// `-log p(x|l) = softplus(l) - x l`, with the gradient `sigmoid(l) - x`,
///
/// in nats, summed over the values. A probability may round to 0 or 1, but a logit does not: every
/// finite logit yields a finite value and gradient.
///
/// Grey values between 0 and 1 are accepted, as in the Keras examples. The result is then a
/// cross-entropy to train on, comparable only between runs on grey values, and not a likelihood:
/// the Bernoulli distribution has no density at 0.4. Values outside `[0, 1]` are not rejected.
/// There the loss has no lower bound, so training on them diverges.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_vae::{BernoulliNll, Likelihood};
///
/// let device = Device::flex();
/// let logits = Tensor::<3>::zeros([1, 2, 3], &device); // every probability is 1/2
/// let x = Tensor::<2>::from_data([[0.0, 1.0, 1.0], [0.2, 0.0, 0.7]], &device);
/// let nll = BernoulliNll.nll(logits, x).into_data().try_to_vec::<f32>().unwrap();
/// assert!(nll.iter().all(|n| (n - 3.0 * 2f32.ln()).abs() < 1e-6));
/// ```
#[derive(Module, Debug, Default, PartialEq)]
pub struct BernoulliNll;

impl Likelihood for BernoulliNll {
    fn support(&self) -> Support {
        Support::Binary
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        ops::bernoulli_nll(params, x)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        sigmoid(params)
    }

    fn inverse_link(&self) -> Option<InverseLink> {
        Some(InverseLink::Sigmoid)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let mut rng = seed.rng();
        let shape = params.dims();
        let uniform = (0..shape[0] * shape[1]).map(|_| rng.random::<f32>()).collect();
        let uniform =
            Tensor::from_data(TensorData::new::<f32, _>(uniform, shape), &params.device());
        uniform.lower(self.mean(params)).float()
    }
}

unit_config!(BernoulliNll);
