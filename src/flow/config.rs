use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Flow, Flows, InverseAutoregressive, Inverted, Planar, Radial, RealNvp};
use crate::config::named;
use crate::error::Result;
use crate::nn::Activation;
use crate::seed::Seed;

/// Description of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FlowConfig {
    /// A [`Planar`] flow.
    Planar,
    /// A [`Radial`] flow.
    Radial,
    /// A step of an [`InverseAutoregressive`] flow. Every other flow of a chain has the dimensions in the
    /// opposite order.
    InverseAutoregressive {
        /// Units of each hidden layer of the network; may be empty.
        hidden: Vec<usize>,
        /// The function after each hidden layer.
        activation: Activation,
    },
    /// A coupling layer of a [`RealNvp`]. Which dimensions it changes depends on its place in the chain.
    RealNvp {
        /// Units of each hidden layer of the network; may be empty.
        hidden: Vec<usize>,
        /// The function after each hidden layer.
        activation: Activation,
    },
}

/// Description of a flow in a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// The flow.
    pub flow: FlowConfig,
    /// Whether it is run backwards; false unless told otherwise.
    #[serde(default)]
    pub is_inverted: bool,
}

/// Description of a chain of flows.
///
/// | chain | one way | the other way |
/// |---|---|---|
/// | [`planar`](Self::planar) | quick | a root by iteration |
/// | [`radial`](Self::radial) | quick | quick |
/// | [`inverse_autoregressive`](Self::inverse_autoregressive) | quick | one pass for each dimension |
/// | [`real_nvp`](Self::real_nvp) | quick | quick |
///
/// A posterior is trained by the way from the noise to the codes, so any of these will do. The density of
/// a prior goes the other way: there [`inverted`](Self::inverted) makes the first and the third quick.
///
/// ```
/// use burn_vae::flow::FlowsConfig;
///
/// let chain = FlowsConfig::planar(4).then(FlowsConfig::real_nvp(2, [64]));
/// assert_eq!(chain.steps.len(), 6);
/// let masked_autoregressive = FlowsConfig::inverse_autoregressive(5, [100]).inverted();
/// # assert!(masked_autoregressive.steps.iter().all(|step| step.is_inverted));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowsConfig {
    /// The flows, in the order in which they are run; at least one.
    pub steps: Vec<StepConfig>,
}

impl FlowsConfig {
    /// So many flows of one description.
    pub fn repeat(flow: FlowConfig, steps: usize) -> Self {
        Self { steps: vec![StepConfig { flow, is_inverted: false }; steps] }
    }

    /// So many planar flows.
    pub fn planar(steps: usize) -> Self {
        Self::repeat(FlowConfig::Planar, steps)
    }

    /// So many radial flows.
    pub fn radial(steps: usize) -> Self {
        Self::repeat(FlowConfig::Radial, steps)
    }

    /// So many steps of an inverse autoregressive flow, each with hidden layers of those sizes; tanh.
    pub fn inverse_autoregressive(steps: usize, hidden: impl Into<Vec<usize>>) -> Self {
        let (hidden, activation) = (hidden.into(), Activation::Tanh);
        Self::repeat(FlowConfig::InverseAutoregressive { hidden, activation }, steps)
    }

    /// So many coupling layers, each with hidden layers of those sizes; tanh. It takes two until every
    /// dimension has been changed.
    pub fn real_nvp(steps: usize, hidden: impl Into<Vec<usize>>) -> Self {
        let (hidden, activation) = (hidden.into(), Activation::Tanh);
        Self::repeat(FlowConfig::RealNvp { hidden, activation }, steps)
    }

    /// These flows and behind them others.
    pub fn then(mut self, next: Self) -> Self {
        self.steps.extend(next.steps);
        self
    }

    /// The flows run backwards, each and all.
    pub fn inverted(self) -> Self {
        let flip = |step: StepConfig| StepConfig { is_inverted: !step.is_inverted, ..step };
        Self { steps: self.steps.into_iter().rev().map(flip).collect() }
    }

    /// Checks the description and builds the flows of codes of a length, given a context of a length, which
    /// is 0 for none.
    ///
    /// # Errors
    /// If there are no flows, or one cannot be built; the message says which.
    pub fn init(
        &self,
        dim: usize,
        context_dim: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<Flows> {
        let build = |(i, step): (usize, &StepConfig)| {
            let flow = step.init([dim, context_dim], i, seed.at(i as u64), device);
            named(&format!("steps[{i}]"), flow)
        };
        Flows::new(self.steps.iter().enumerate().map(build).collect::<Result<_>>()?)
    }
}

impl StepConfig {
    fn init(
        &self,
        [dim, context_dim]: [usize; 2],
        index: usize,
        seed: Seed,
        device: &Device,
    ) -> Result<AnyFlow> {
        let flow = match &self.flow {
            FlowConfig::Planar => FlowKind::Planar(Planar::new(dim, context_dim, seed, device)?),
            FlowConfig::Radial => FlowKind::Radial(Radial::new(dim, context_dim, seed, device)?),
            FlowConfig::InverseAutoregressive { hidden, activation } => {
                let is_reversed = !index.is_multiple_of(2);
                FlowKind::InverseAutoregressive(InverseAutoregressive::new(
                    dim,
                    context_dim,
                    hidden,
                    *activation,
                    is_reversed,
                    seed,
                    device,
                )?)
            }
            FlowConfig::RealNvp { hidden, activation } => FlowKind::RealNvp(RealNvp::new(
                dim,
                context_dim,
                hidden,
                *activation,
                index,
                seed,
                device,
            )?),
        };
        Ok(match self.is_inverted {
            true => AnyFlow::Inverted(Inverted::new(flow)),
            false => AnyFlow::Forward(flow),
        })
    }
}

/// Any of the flows of this crate.
// A module of Burn's cannot be boxed.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum FlowKind {
    /// A planar flow.
    Planar(Planar),
    /// A radial flow.
    Radial(Radial),
    /// A step of an inverse autoregressive flow.
    InverseAutoregressive(InverseAutoregressive),
    /// A coupling layer.
    RealNvp(RealNvp),
}

/// Any of the flows of this crate, in either direction.
#[derive(Module, Debug)]
pub enum AnyFlow {
    /// As it is.
    Forward(FlowKind),
    /// Run backwards.
    Inverted(Inverted<FlowKind>),
}

/// Hands each method on to the flow that it is.
macro_rules! delegate {
    ($type:ident { $($variant:ident),+ }) => {
        impl Flow for $type {
            fn dim(&self) -> usize {
                match self { $(Self::$variant(flow) => flow.dim()),+ }
            }

            fn context_dim(&self) -> usize {
                match self { $(Self::$variant(flow) => flow.context_dim()),+ }
            }

            fn forward(
                &self,
                z: Tensor<3>,
                context: Option<&Tensor<2>>,
            ) -> (Tensor<3>, Tensor<2>) {
                match self { $(Self::$variant(flow) => flow.forward(z, context)),+ }
            }

            fn inverse(
                &self,
                z: Tensor<3>,
                context: Option<&Tensor<2>>,
            ) -> (Tensor<3>, Tensor<2>) {
                match self { $(Self::$variant(flow) => flow.inverse(z, context)),+ }
            }
        }
    };
}

delegate!(FlowKind { Planar, Radial, InverseAutoregressive, RealNvp });
delegate!(AnyFlow { Forward, Inverted });
