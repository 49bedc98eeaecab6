//! Models with given parameters.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

/// Replaces all parameters by `values`, in order.
pub fn filled<M: Module>(module: M, values: Vec<f32>) -> M {
    let mut fill = Fill(values.into_iter());
    let module = module.map(&mut fill);
    assert!(fill.0.next().is_none(), "there are more numbers than parameters");
    module
}

struct Fill(std::vec::IntoIter<f32>);

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.shape();
        let values = self.0.by_ref().take(shape.num_elements()).collect();
        let device = param.device();
        param.map(|_| Tensor::from_data(TensorData::new::<f32, _>(values, shape), &device))
    }
}
