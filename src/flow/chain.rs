use burn::module::Module;
use burn::tensor::Tensor;

use super::{AnyFlow, Flow};
use crate::error::{Error, Result};

/// A flow run backwards.
///
/// An inverted [`InverseAutoregressive`](super::InverseAutoregressive) is a masked autoregressive
/// flow.
#[derive(Module, Debug)]
pub struct Inverted<F> {
    flow: F,
}

impl<F: Flow> Inverted<F> {
    /// Inverts a flow.
    pub fn new(flow: F) -> Self {
        Self { flow }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<F: Flow> Flow for Inverted<F> {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn context_dim(&self) -> usize {
        self.flow.context_dim()
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        self.flow.inverse(z, context)
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        self.flow.forward(z, context)
    }
}

/// A chain of flows, `f_T(..f_2(f_1(z)))`, whose log-determinants add up (Rezende and Mohamed 2015,
/// eq. 6 and 7).
///
/// `F` is one kind of flow, or [`AnyFlow`] to mix kinds.
#[derive(Module, Debug)]
pub struct Flows<F = AnyFlow> {
    steps: Vec<F>,
}

impl<F: Flow> Flows<F> {
    /// Creates a chain, in the order in which `forward` runs it.
    ///
    /// # Errors
    /// If `steps` is empty, if the flows differ in code length, or if those that take a context
    /// differ in context length.
    pub fn new(steps: Vec<F>) -> Result<Self> {
        let Some(first) = steps.first() else {
            return Err(Error::config("a chain has no flows, but it needs at least one"));
        };
        let wanted = [first.dim(), steps.iter().map(F::context_dim).max().unwrap_or(0)];
        for (i, step) in steps.iter().enumerate() {
            let found = [step.dim(), step.context_dim()];
            if found[0] != wanted[0] || ![0, wanted[1]].contains(&found[1]) {
                return Err(Error::config(format!(
                    "flow {i} of a chain has code length {} and context length {}, but the chain \
                     has code length {} and context length {}",
                    found[0], found[1], wanted[0], wanted[1]
                )));
            }
        }
        Ok(Self { steps })
    }

    /// The flows, in the order in which `forward` runs them.
    pub fn steps(&self) -> &[F] {
        &self.steps
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<F: Flow> Flow for Flows<F> {
    fn dim(&self) -> usize {
        self.steps[0].dim()
    }

    fn context_dim(&self) -> usize {
        self.steps.iter().map(F::context_dim).max().unwrap_or(0)
    }

    fn forward(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        run(self.steps.iter(), z, |step, z| step.forward(z, context))
    }

    fn inverse(&self, z: Tensor<3>, context: Option<&Tensor<2>>) -> (Tensor<3>, Tensor<2>) {
        run(self.steps.iter().rev(), z, |step, z| step.inverse(z, context))
    }
}

fn run<'a, F: 'a>(
    steps: impl Iterator<Item = &'a F>,
    z: Tensor<3>,
    map: impl Fn(&F, Tensor<3>) -> (Tensor<3>, Tensor<2>),
) -> (Tensor<3>, Tensor<2>) {
    let [samples, batch, _] = z.dims();
    let start = Tensor::zeros([samples, batch], &z.device());
    steps.fold((z, start), |(z, sum), step| {
        let (z, log_det) = map(step, z);
        (z, sum + log_det)
    })
}
