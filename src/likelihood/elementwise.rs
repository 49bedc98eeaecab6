use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand::distr::Open01;

use super::{Likelihood, Support};
use crate::seed::Seed;

/// A likelihood whose values are independent given the code, defined by that of a single value.
///
/// A module that implements it is a [`Likelihood`]: the crate splits the decoder's output into
/// parameters, sums over the values and draws samples. Implement [`Likelihood`] itself if the
/// values depend on each other, or if the number of parameters is known only at run time, as with a
/// [`Scale`](super::Scale).
///
/// # Shapes
/// Parameters are `[num_samples, batch, data_dim]`. `x` has that shape too, or 1 instead of
/// `num_samples`. Methods that work element by element, with broadcasting, need no further care.
///
/// # Example
/// ```
/// use std::f32::consts::PI;
///
/// use burn::module::Module;
/// use burn::tensor::Tensor;
/// use burn_vae::likelihood::{Elementwise, Support};
///
/// /// Cauchy: `-log p(x|m, s) = log(pi s) + log(1 + ((x - m)/s)^2)`.
/// #[derive(Module, Debug, Default)]
/// struct CauchyNll;
///
/// impl Elementwise for CauchyNll {
///     type Params = [Tensor<3>; 2]; // m and log s
///
///     fn support(&self) -> Support {
///         Support::Real
///     }
///     fn nll(&self, [m, log_s]: Self::Params, x: Tensor<3>) -> Tensor<3> {
///         ((x - m) * log_s.clone().neg().exp()).square().log1p() + log_s + PI.ln()
///     }
///     fn mean(&self, [m, _]: Self::Params) -> Tensor<3> {
///         m // a Cauchy distribution has no mean; its median
///     }
///     fn quantile(&self, [m, log_s]: Self::Params, u: Tensor<3>) -> Tensor<3> {
///         m + log_s.exp() * ((u - 0.5) * PI).tan()
///     }
/// }
/// ```
pub trait Elementwise: Module + ModuleDisplay {
    /// The parameters of a value: `[Tensor<3>; P]` for `P` of them.
    ///
    /// The decoder outputs `P * data_dim` columns, first the first parameter of every value.
    type Params: Params;

    /// The set of values that `x` may take, as in [`Likelihood::support`].
    fn support(&self) -> Support;

    /// Returns `-log p(x|z)` of each value, in nats.
    fn nll(&self, params: Self::Params, x: Tensor<3>) -> Tensor<3>;

    /// Returns `E[x|z]` of each value.
    fn mean(&self, params: Self::Params) -> Tensor<3>;

    /// Returns the inverse of the cumulative distribution function at `u`, for each value. Samples
    /// are quantiles at uniform draws of `u` from `(0, 1)`.
    fn quantile(&self, params: Self::Params, u: Tensor<3>) -> Tensor<3>;
}

/// The parameters of an [`Elementwise`] likelihood: an array of tensors.
pub trait Params: sealed::Sealed {
    /// Number of parameters of each value.
    const COUNT: usize;

    /// Splits the decoder's output, `[num_samples, batch, COUNT * data_dim]`, into parameters of
    /// `[num_samples, batch, data_dim]`.
    fn split(output: Tensor<3>) -> Self;
}

impl<const P: usize> Params for [Tensor<3>; P] {
    const COUNT: usize = P;

    fn split(output: Tensor<3>) -> Self {
        const { assert!(P > 0, "a distribution has at least one parameter") };
        let data_dim = output.dims()[2] / P;
        std::array::from_fn(|i| output.clone().narrow(2, i * data_dim, data_dim))
    }
}

mod sealed {
    use burn::tensor::Tensor;

    pub trait Sealed {}
    impl<const P: usize> Sealed for [Tensor<3>; P] {}
}

impl<T: Elementwise> Likelihood for T {
    fn params_per_value(&self) -> usize {
        T::Params::COUNT
    }

    fn support(&self) -> Support {
        Elementwise::support(self)
    }

    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        let nll = Elementwise::nll(self, T::Params::split(params), x.unsqueeze_dim(0));
        nll.sum_dim(2).squeeze_dim(2)
    }

    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        Elementwise::mean(self, T::Params::split(params.unsqueeze_dim(0))).squeeze_dim(0)
    }

    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        let ([rows, columns], device) = (params.dims(), params.device());
        let shape = [1, rows, columns / T::Params::COUNT];
        let mut rng = seed.rng();
        let uniform = (0..shape.iter().product()).map(|_| rng.sample::<f32, _>(Open01)).collect();
        let uniform = Tensor::from_data(TensorData::new::<f32, _>(uniform, shape), &device);
        let params = T::Params::split(params.unsqueeze_dim(0));
        self.quantile(params, uniform).squeeze_dim(0)
    }
}
