use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// What a computation gave, and how far another backend may be from it.
///
/// Sums of some hundred products of numbers of the size of one differ by some 1e-6 with the order of their
/// terms; exponentials, logarithms and sines differ by as much from library to library.
#[derive(Debug)]
pub struct Found {
    name: String,
    values: Vec<f64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Nats of an example: 1e-4, or that part of the largest.
    Value,
    /// A gradient: 1e-3 of its tensor's largest number.
    Gradient,
    /// What is left of many steps, each on top of the one before: 1e-2 of the largest.
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

    /// The largest difference, in parts of the largest number; of small values it is taken as it is, and so it
    /// is of gradients that are nothing but rounding.
    pub fn difference(&self, expected: &Self) -> f64 {
        assert_eq!(
            (&self.name, self.values.len()),
            (&expected.name, expected.values.len()),
            "what is compared"
        );
        let least = if self.kind == Kind::Value { 1.0 } else { 1e-3 };
        let scale = expected.largest().max(least);
        let differences = self.values.iter().zip(&expected.values).map(|(a, b)| (a - b).abs());
        // What is no number is off by more than anything.
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
