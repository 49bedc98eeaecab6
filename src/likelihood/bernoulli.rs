use burn::module::Module;
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;

use super::{Likelihood, Support};
use crate::Seed;
use crate::config::unit_config;

/// Negative log-likelihood of a Bernoulli distribution given by logits.
///
/// For the logit `l` of a value `x` in `[0, 1]`
///
/// `-log p(x|l) = softplus(l) - x l`, with the gradient `sigmoid(l) - x`,
///
/// in nats, summed over the values. Where a probability would round to 0 or 1, a logit does not: every
/// finite logit gives a finite value and gradient.
///
/// Grey values between 0 and 1 are accepted, as in the Keras examples. What comes out is then a
/// training loss (a cross-entropy), comparable among grey runs only, and not the likelihood of any
/// data: the Bernoulli distribution has no density at 0.4. Values outside of `[0, 1]` are not refused,
/// and there the expression has no lower bound: what is trained on them diverges.
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
        assert_eq!(params.dims()[1..], x.dims(), "logits and data differ in shape");
        #[cfg(feature = "flex")]
        if crate::fused::runs_on(&params) && crate::fused::runs_on(&x) {
            return crate::fused::bernoulli::bernoulli_nll(params, x);
        }
        plain_nll(params, x)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        sigmoid(params)
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

/// The same by Burn's own operations.
fn plain_nll(params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
    // softplus(l) = -log sigmoid(-l): Burn has a stable gradient for the latter at every l, where
    // max(l, 0) + log1p(exp(-|l|)) would lose half of it at l = 0.
    let softplus = log_sigmoid(params.clone().neg()).neg();
    (softplus - params * x.unsqueeze_dim(0)).sum_dim(2).squeeze_dim(2)
}

unit_config!(BernoulliNll);

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::NoiseSource;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn values<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
        x.to_data().try_to_vec().unwrap()
    }

    /// Value and both gradients, weighed by a matrix.
    fn run(
        logits: &Tensor<3>,
        x: &Tensor<2>,
        f: impl Fn(Tensor<3>, Tensor<2>) -> Tensor<2>,
    ) -> [Vec<f32>; 3] {
        let logits = Tensor::from_inner(logits.clone()).require_grad();
        let x = Tensor::from_inner(x.clone()).require_grad();
        let nll = f(logits.clone(), x.clone());
        let [samples, batch] = nll.dims();
        let weigh = NoiseSource::new(2).draw(0, [1, samples, batch], &Device::flex());
        let weigh = Tensor::from_inner(weigh.squeeze_dim::<2>(0));
        let gradients = (nll.clone() * weigh).sum().backward();
        let (dl, dx) = (logits.grad(&gradients).unwrap(), x.grad(&gradients).unwrap());
        [values(&nll.without_autodiff()), values(&dl), values(&dx)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The fused operation against Burn's own; examples of more values than are multiplied at
        /// once are among them.
        #[test]
        fn fused_and_plain_agree(
            samples in 1usize..5,
            batch in 1usize..5,
            columns in prop_oneof![1usize..50, 1000usize..1100],
            scale in prop_oneof![Just(1.0f32), Just(30.0), Just(1e4)],
        ) {
            let noise = NoiseSource::new(1);
            let logits = noise.draw(0, [samples, batch, columns], &Device::flex()).mul_scalar(scale);
            let x = sigmoid(noise.draw(1, [1, batch, columns], &Device::flex())).squeeze_dim(0);
            let (plain, fused) = (run(&logits, &x, plain_nll), run(&logits, &x, |l, x| BernoulliNll.nll(l, x)));
            for (what, (plain, fused)) in ["nll", "dl", "dx"].iter().zip(plain.iter().zip(&fused)) {
                prop_assert_eq!(plain.len(), fused.len());
                let size = plain.iter().fold(1.0f32, |size, value| size.max(value.abs()));
                for (plain, fused) in plain.iter().zip(fused) {
                    prop_assert!((plain - fused).abs() < 2e-6 * size, "{}: {} {}", what, plain, fused);
                }
            }
        }
    }

    /// The same bits with and without gradients.
    #[test]
    fn the_graph_does_not_change_the_value() {
        let logits = NoiseSource::new(1).draw(0, [3, 7, 100], &Device::flex());
        let x = Tensor::full([7, 100], 0.25, &Device::flex());
        let alone = values(&BernoulliNll.nll(logits.clone(), x.clone()));
        assert_eq!(run(&logits, &x, |l, x| BernoulliNll.nll(l, x))[0], alone);
    }
}
