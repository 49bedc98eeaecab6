//! Normalisation by groups of channels, with the SiLU after it, as one autodiff operation.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::kernels::Engine;
use crate::ops::Groups;

pub(crate) fn group_norm(
    x: Tensor<3>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    groups: Groups,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as GpuGroupNorm>::gpu_by_groups(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        groups,
    ))
}

#[backend_extension(Cube, Autodiff)]
trait GpuGroupNorm: Backend {
    fn gpu_by_groups(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> FloatTensor<Self>;
}

impl<B: Engine> GpuGroupNorm for B {
    fn gpu_by_groups(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        groups: Groups,
    ) -> FloatTensor<B> {
        B::gpu_group_norm(x, scale, shift, groups).0
    }
}

impl<B: Engine, C: CheckpointStrategy> GpuGroupNorm for Autodiff<B, C> {
    fn gpu_by_groups(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        groups: Groups,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let prep = GroupNormBackward.prepare::<C>(nodes).compute_bound().stateful();
        let (x, scale, shift) =
            (x.into_primitive(), scale.into_primitive(), shift.into_primitive());
        let (y, mean, variance) =
            B::gpu_group_norm(x.clone(), scale.clone(), shift.clone(), groups);
        match prep {
            OpsKind::Tracked(prep) => {
                let (statistics, affine) = ([mean, variance], [scale, shift]);
                prep.finish(State { x, statistics, affine, groups }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct GroupNormBackward;

#[derive(Clone, Debug)]
struct State<B: Engine> {
    x: FloatTensor<B>,
    /// Mean and variance.
    statistics: [FloatTensor<B>; 2],
    /// Scale and shift.
    affine: [FloatTensor<B>; 2],
    groups: Groups,
}

impl<B: Engine> Backward<B, 3> for GroupNormBackward {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let State { x, statistics: [mean, variance], affine: [scale, shift], groups } = ops.state;
        let (dx, d_scale, d_shift) =
            B::gpu_group_norm_gradients(dy, x, mean, variance, scale, shift, groups);
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_scale, d_shift]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}
