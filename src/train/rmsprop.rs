use burn::optim::{LearningRate, ModuleOptimizer, Optimizer, SquareAvgState};
use burn::tensor::{Device, Tensor};

/// RMSprop (Tieleman and Hinton 2012) as Keras 3 defines it, with its default constants.
///
/// `v <- rho v + (1 - rho) g^2`, `w <- w - lr g / sqrt(v + epsilon)`, with rho 0.9 and epsilon 1e-7.
///
/// Burn's `RmsProp`, like PyTorch's, adds epsilon to the square root instead, which scales gradients
/// far below sqrt(1e-7), as of pixels that are rarely lit, up to full steps. It is at hand as
/// `burn::optim::RmsPropConfig`; the texts this crate is held against used the form here.
pub fn rmsprop() -> ModuleOptimizer {
    RmsProp { rho: 0.9, epsilon: 1e-7 }.into()
}

#[derive(Clone)]
struct RmsProp {
    rho: f64,
    epsilon: f64,
}

impl Optimizer for RmsProp {
    type State<const D: usize> = SquareAvgState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let square = grad.clone().square().mul_scalar(1.0 - self.rho);
        let square_avg = match state {
            Some(state) => state.square_avg.mul_scalar(self.rho) + square,
            None => square,
        };
        let scale = square_avg.clone().add_scalar(self.epsilon).sqrt();
        (tensor - grad.mul_scalar(lr) / scale, Some(SquareAvgState::new(square_avg)))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.to_device(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_definition() {
        let device = Device::flex();
        let optimizer = RmsProp { rho: 0.9, epsilon: 1e-7 };
        // One gradient well above sqrt(epsilon), one well below, one zero.
        let gradients = [[0.5f64, 1e-5, 0.0], [-0.2, 3e-5, 0.0], [0.1, -1e-5, 0.0]];
        let (mut w, mut v) = ([1.0f64, 1.0, 1.0], [0.0f64; 3]);
        let mut tensor = Tensor::<1>::from_data([1.0f32, 1.0, 1.0], &device);
        let mut state = None;
        for g in gradients {
            for i in 0..3 {
                v[i] = 0.9 * v[i] + 0.1 * g[i] * g[i];
                w[i] -= 0.01 * g[i] / (v[i] + 1e-7).sqrt();
            }
            let grad = Tensor::from_data(g.map(|g| g as f32), &device);
            (tensor, state) = optimizer.step(0.01, tensor, grad, state);
            let found = tensor.to_data().try_to_vec::<f32>().unwrap();
            for i in 0..3 {
                assert!((f64::from(found[i]) - w[i]).abs() < 2e-7, "{found:?} is not {w:?}");
            }
        }
    }
}
