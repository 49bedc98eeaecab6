use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The result of a computation, and how far another backend may differ from it.
///
/// Sums of a few hundred products of values of about one differ by about 1e-6 with the order of
/// their terms. Exponentials, logarithms and sines differ by as much between libraries.
#[derive(Debug)]
pub struct Found {
    name: String,
    values: Vec<f64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Nats per example: tolerance 1e-4, absolute or relative to the largest value.
    Value,
    /// A gradient: tolerance 1e-3 relative to the largest value of its tensor.
    Gradient,
    /// The result of many successive steps: tolerance 1e-2 relative to the largest value.
    Course,
}

impl Found {
    pub fn value<const D: usize>(name: impl Into<String>, tensor: Tensor<D>) -> Self {
        Self { name: name.into(), values: numbers(tensor), kind: Kind::Value }
    }

    pub fn course(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self { name: name.into(), values, kind: Kind::Course }
    }

    /// The gradients of all parameters that have one.
    pub fn gradients<M: Module>(module: &M, gradients: &GradientsParams) -> Vec<Self> {
        let mut visitor =
            Visitor { path: Vec::new(), gradients: Some(gradients), found: Vec::new() };
        module.visit(&mut visitor);
        visitor.found
    }

    /// All parameters.
    pub fn weights<M: Module>(module: &M) -> Vec<Self> {
        let mut visitor = Visitor { path: Vec::new(), gradients: None, found: Vec::new() };
        module.visit(&mut visitor);
        visitor.found
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_gradient(&self) -> bool {
        self.kind != Kind::Value
    }

    pub fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite())
    }

    pub fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |largest, value| value.abs().max(largest))
    }

    pub fn tolerance(&self) -> f64 {
        match self.kind {
            Kind::Value => 1e-4,
            Kind::Gradient => 1e-3,
            Kind::Course => 1e-2,
        }
    }

    /// The largest difference relative to the largest value. For small values, and for gradients
    /// that are only rounding, the difference is absolute or relative to a minimum.
    pub fn difference(&self, expected: &Self) -> f64 {
        assert_eq!(
            (&self.name, self.values.len()),
            (&expected.name, expected.values.len()),
            "names and lengths"
        );
        let least = if self.kind == Kind::Value { 1.0 } else { 1e-3 };
        let scale = expected.largest().max(least);
        let differences = self.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs());
        // NaN exceeds every tolerance.
        differences
            .fold(0.0, |d: f64, next| if next.is_nan() { f64::INFINITY } else { d.max(next) })
            / scale
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

struct Visitor<'a> {
    path: Vec<String>,
    gradients: Option<&'a GradientsParams>,
    found: Vec<Found>,
}

impl ModuleVisitor for Visitor<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        match self.gradients {
            Some(gradients) => {
                if let Some(gradient) = gradients.get::<D>(param.id) {
                    let name = format!("gradient of {name}");
                    let values = numbers(gradient);
                    self.found.push(Found { name, values, kind: Kind::Gradient });
                }
            }
            None => {
                self.found.push(Found { name, values: numbers(param.val()), kind: Kind::Course })
            }
        }
    }
}
