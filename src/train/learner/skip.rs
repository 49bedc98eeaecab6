use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::clip::squared_norm;

/// Returns whether to skip a step: the norm of its gradients is above the threshold, or the norm or
/// the loss is not finite (Child 2021, section 4). Reads one value from the device.
pub(super) fn is_to_be_skipped<M: Module>(
    module: &M,
    gradients: &GradientsParams,
    loss: Tensor<1>,
    threshold: f64,
) -> bool {
    let Some(norm) = squared_norm(module, gradients) else { return false };
    // Adds zero if the loss is finite, NaN otherwise.
    let norm = norm.sqrt() + loss.without_autodiff().mul_scalar(0.0);
    let norm = norm.try_into_data().ok().and_then(|data| data.iter::<f64>().next());
    // A device failure is reported where the terms are read.
    norm.is_some_and(|norm| !norm.is_finite() || norm > threshold)
}

/// The tensors that a forward pass changes: running statistics, shared with the module's clones.
pub(super) struct Buffers(HashMap<ParamId, Box<dyn std::any::Any>>);

impl Buffers {
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let mut buffers = Self(HashMap::new());
        module.visit(&mut buffers);
        buffers
    }

    /// Whether the module has nothing but trained parameters.
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Restores the tensors in the module, which shares them with its clones.
    pub(super) fn restore<M: Module>(mut self, module: &M) {
        let _restored = module.clone().map(&mut self);
    }
}

impl ModuleVisitor for Buffers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if !tensor.is_require_grad() {
            self.0.insert(param.id, Box::new(tensor));
        }
    }
}

impl ModuleMapper for Buffers {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let kept = self.0.remove(&id).and_then(|kept| kept.downcast().ok());
        Param::from_mapped_value(id, kept.map_or(tensor, |kept| *kept), mapper)
    }
}
