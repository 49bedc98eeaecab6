//! Descriptions of networks: layers for a summary, stages to run a network elsewhere.

mod stage;

pub use stage::Stage;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;

/// A layer of a network, one row of a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Name within the network.
    pub name: String,
    /// Kind of layer, such as `Linear`.
    pub kind: String,
    /// Shape of the output for one example.
    pub output: Vec<usize>,
    /// Name of the layer that provides the input; `None` for the one above it in the table.
    pub input: Option<String>,
    /// Numbers of parameters.
    pub params: ParamCount,
}

impl Layer {
    /// Describes a layer of any module.
    pub fn new<M: Module>(
        name: impl Into<String>,
        kind: impl Into<String>,
        output: impl Into<Vec<usize>>,
        module: &M,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            output: output.into(),
            input: None,
            params: ParamCount::of(module),
        }
    }

    /// Describes a fully connected layer.
    pub fn linear(name: impl Into<String>, kind: impl Into<String>, linear: &Linear) -> Self {
        Self::new(name, kind, [linear.weight.dims()[1]], linear)
    }

    /// Describes a whole network as one row, named after its type.
    pub fn opaque<M: Module>(module: &M, output: impl Into<Vec<usize>>) -> Self {
        let path = std::any::type_name::<M>();
        let kind = path.split('<').next().and_then(|path| path.rsplit("::").next());
        Self::new("network", kind.unwrap_or(path), output, module)
    }

    /// Places the layers of a network whose input is the layer `above`.
    pub(crate) fn all_after(above: &str, layers: Vec<Self>) -> Vec<Self> {
        let place = |layer: Self| match layer.input.as_deref() {
            Some(INPUT) => layer.after(above),
            _ => layer,
        };
        layers.into_iter().map(place).collect()
    }

    /// Places the layers of a network within a larger one; its input is the layer `above`.
    pub(crate) fn all_within(part: &str, above: &str, layers: Vec<Self>) -> Vec<Self> {
        let rename = |(i, layer): (usize, Self)| {
            let input = match layer.input.as_deref() {
                None if i > 0 => None,
                None | Some(INPUT) => Some(above.to_string()),
                Some(name) => Some(format!("{part}.{name}")),
            };
            Self { name: format!("{part}.{}", layer.name), input, ..layer }
        };
        layers.into_iter().enumerate().map(rename).collect()
    }

    /// Names the layer that provides the input; [`INPUT`] stands for the input of the network.
    pub fn after(mut self, input: &str) -> Self {
        self.input = Some(input.into());
        self
    }
}

/// A network that a [`Summary`](crate::summary::Summary) can show.
///
/// Implement it for your own encoder or decoder: `impl Describe for MyEncoder {}` gives it one row;
/// override [`layers`](Self::layers) for one row per layer, and [`stages`](Self::stages) if the page
/// of a `report` is to run the network.
pub trait Describe: Module {
    /// Returns the rows of a [`Summary`](crate::summary::Summary), one per layer.
    fn layers(&self) -> Vec<Layer> {
        vec![Layer::opaque(self, [])]
    }

    /// Returns the network outside training as a sequence of operations, or `None` if it is not such
    /// a sequence. Those of an encoder with a diagonal Gaussian posterior end with its means followed
    /// by the logarithms of its variances.
    fn stages(&self) -> Option<Vec<Stage>> {
        None
    }
}

/// The name of a network's input, for [`Layer::after`].
pub const INPUT: &str = "input";

/// Numbers of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParamCount {
    /// Parameters that an optimiser updates.
    pub trainable: usize,
    /// Parameters that it does not: frozen weights and running statistics.
    pub fixed: usize,
}

impl ParamCount {
    /// Counts the parameters of a module.
    pub fn of<M: Module>(module: &M) -> Self {
        struct Visitor(ParamCount);
        impl ModuleVisitor for Visitor {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let count = param.lazy_shape().num_elements();
                match param.val().is_require_grad() {
                    true => self.0.trainable += count,
                    false => self.0.fixed += count,
                }
            }
        }
        let mut visitor = Visitor(Self::default());
        // Only in training mode does a tensor say whether it wants a gradient.
        module.clone().train().visit(&mut visitor);
        visitor.0
    }

    /// Returns the number of all parameters.
    pub fn total(&self) -> usize {
        self.trainable + self.fixed
    }
}

impl std::iter::Sum for ParamCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            trainable: sum.trainable + count.trainable,
            fixed: sum.fixed + count.fixed,
        })
    }
}
