//! Compares bounds and their gradients with PyTorch's; see `fixtures/bounds.py`.

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::nn::Activation;
use burn_vae::objective::{Ciwae, Cubo, Gradient, Iwae, Miwae, Piwae, RenyiBound, Terms};
use burn_vae::prior::StandardNormal;
use burn_vae::{BernoulliNll, Elbo, Inputs, MlpVae, MlpVaeConfig, ModuleConfig, Objective, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    parameters: Vec<f32>,
    x: Vec<Vec<f32>>,
    eps: Vec<Vec<Vec<f32>>>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    bound: Vec<f64>,
    encoder: Vec<f64>,
    decoder: Vec<f64>,
}

const DATA: usize = 5;
const HIDDEN: usize = 4;
const LATENT: usize = 3;

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/bounds.json")).unwrap()
}

/// Collects the gradients of all parameters, with zeros for parameters without one.
struct Collect<'a> {
    gradients: &'a Gradients,
    values: Vec<f64>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.val().grad(self.gradients) {
            Some(gradient) => self.values.extend(gradient.into_data().iter::<f64>()),
            None => self.values.extend(std::iter::repeat_n(0.0, param.shape().num_elements())),
        }
    }
}

fn model(fixture: &Fixture) -> MlpVae {
    let config = MlpVaeConfig {
        encoder: MlpEncoderConfig::new(DATA, [HIDDEN], LATENT).with_activation(Activation::Tanh),
        decoder: MlpDecoderConfig::new(LATENT, [HIDDEN], DATA).with_activation(Activation::Tanh),
        likelihood: BernoulliNll,
        prior: StandardNormal,
    };
    let vae = config.init(Seed::new(0), &Device::flex()).unwrap();
    filled(vae, fixture.parameters.clone()).train()
}

fn inputs(fixture: &Fixture, device: &Device) -> Inputs {
    let (batch, samples) = (fixture.x.len(), fixture.eps.len());
    let flat = |rows: &[Vec<f32>]| rows.concat();
    let x = TensorData::new::<f32, _>(flat(&fixture.x), [batch, DATA]);
    let eps = fixture.eps.iter().flat_map(|rows| flat(rows)).collect::<Vec<_>>();
    let eps = TensorData::new::<f32, _>(eps, [samples, batch, LATENT]);
    Inputs::new(Tensor::from_data(x, device), Tensor::from_data(eps, device))
}

fn terms(name: &str, vae: &MlpVae, inputs: Inputs) -> Terms {
    let iwae = Iwae::default();
    match name {
        "elbo" => Elbo::default().terms(vae, inputs),
        "elbo_monte_carlo" => Elbo::new(MonteCarloKl::default()).terms(vae, inputs),
        "elbo_sticking_the_landing" => {
            Elbo::new(MonteCarloKl::default().sticking_the_landing()).terms(vae, inputs)
        }
        "iwae" => iwae.terms(vae, inputs),
        "iwae_sticking_the_landing" => {
            iwae.with_gradient(Gradient::StickingTheLanding).terms(vae, inputs)
        }
        "dreg" => iwae.with_gradient(Gradient::DoublyReparameterized).terms(vae, inputs),
        "miwae" => Miwae::new(2).unwrap().terms(vae, inputs),
        "piwae" => Piwae::new(2).unwrap().terms(vae, inputs),
        "ciwae" => Ciwae::new(0.3).unwrap().terms(vae, inputs),
        "cubo" => Cubo::new(2.0).unwrap().terms(vae, inputs),
        _ => {
            let alpha =
                name.strip_prefix("renyi ").expect("a name of the fixture").parse().unwrap();
            RenyiBound::new(alpha).unwrap().terms(vae, inputs)
        }
    }
}

fn values(x: Tensor<1>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// Asserts equality up to 32-bit rounding: the sums have a hundred terms as large as the largest
/// value.
fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.1f64, |size, value| size.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(error < 1e-5 * size, "{what}: {found} is not {expected}, of {size}");
    }
}

#[test]
fn bounds_and_gradients_are_those_of_pytorch() {
    let fixture = fixture();
    assert_eq!(fixture.rows.len(), 16);
    let vae = model(&fixture);
    for row in &fixture.rows {
        let terms = terms(&row.name, &vae, inputs(&fixture, &vae.device()));
        // For upper bounds, `nelbo` is the bound itself: lower is better.
        let sign = if row.name == "cubo" { 1.0 } else { -1.0 };
        let expected = row.bound.iter().map(|bound| sign * bound).collect::<Vec<_>>();
        assert_close(&format!("{}, bound", row.name), &values(terms.nelbo.clone()), &expected);
        let gradients = terms.mean().backward();
        let mut found = Collect { gradients: &gradients, values: Vec::new() };
        vae.visit(&mut found);
        let (encoder, decoder) = found.values.split_at(row.encoder.len());
        assert_close(&format!("{}, encoder", row.name), encoder, &row.encoder);
        assert_close(&format!("{}, decoder", row.name), decoder, &row.decoder);
        let moved = row.encoder.iter().map(|gradient| gradient.abs()).sum::<f64>();
        assert!(moved > 0.1, "{}: the encoder's gradient is zero, nothing was compared", row.name);
    }
}

/// The values are the same without a graph, as in evaluation.
#[test]
fn the_graph_does_not_change_the_bounds() {
    let fixture = fixture();
    let vae = model(&fixture);
    let plain = vae.valid();
    for row in &fixture.rows {
        let with = terms(&row.name, &vae, inputs(&fixture, &vae.device()));
        let without = terms(&row.name, &plain, inputs(&fixture, &plain.device()));
        assert_close(&row.name, &values(without.nelbo), &values(with.nelbo));
    }
}

/// The inequalities between the bounds, sample by sample.
#[test]
fn bounds_are_in_order() {
    let fixture = fixture();
    let vae = model(&fixture).valid();
    let bound = |name: &str| -> Vec<f64> {
        values(terms(name, &vae, inputs(&fixture, &vae.device())).nelbo.neg())
    };
    let rising = [
        "renyi inf",
        "renyi 3",
        "renyi 1.5",
        "renyi 1",
        "renyi 0.999",
        "renyi 0.5",
        "renyi 0",
        "renyi -0.5",
        "renyi -2",
        "renyi -20",
        "renyi -inf",
    ];
    for pair in rising.windows(2) {
        for (low, high) in bound(pair[0]).into_iter().zip(bound(pair[1])) {
            assert!(low <= high + 1e-5, "{pair:?}: {low} {high}");
        }
    }
    let same = |a: &str, b: &str| assert_close(&format!("{a}, {b}"), &bound(a), &bound(b));
    same("renyi 1", "elbo_monte_carlo");
    same("renyi 0", "iwae");
    let cubo = bound("cubo").into_iter().map(|negative| -negative).collect::<Vec<_>>();
    assert_close("renyi -1, cubo", &bound("renyi -1"), &cubo);
    for ((elbo, miwae), iwae) in
        bound("elbo_monte_carlo").into_iter().zip(bound("miwae")).zip(bound("iwae"))
    {
        assert!(elbo < miwae && miwae < iwae, "{elbo} {miwae} {iwae}");
    }
}

#[test]
fn with_one_sample_all_bounds_are_the_elbo() {
    let fixture = fixture();
    let vae = model(&fixture).valid();
    let one = || {
        let Inputs { x, noise, .. } = inputs(&fixture, &vae.device());
        Inputs::new(x, noise.narrow(0, 0, 1))
    };
    let elbo = values(terms("elbo_monte_carlo", &vae, one()).nelbo);
    for name in ["iwae", "dreg", "iwae_sticking_the_landing", "ciwae", "renyi 0.5", "renyi -inf"] {
        assert_close(name, &values(terms(name, &vae, one()).nelbo), &elbo);
    }
    assert_close("miwae", &values(Miwae::new(1).unwrap().terms(&vae, one()).nelbo), &elbo);
    assert_close("piwae", &values(Piwae::new(1).unwrap().terms(&vae, one()).nelbo), &elbo);
}

#[test]
fn orders_and_groups_out_of_range_are_refused() {
    assert!(RenyiBound::new(f64::NAN).is_err());
    for n in [0.5, f64::NAN, f64::INFINITY] {
        assert!(Cubo::new(n).unwrap_err().to_string().contains("at least 1"));
    }
    for beta in [-0.1, 1.1, f64::NAN] {
        assert!(Ciwae::new(beta).unwrap_err().to_string().contains("between 0 and 1"));
    }
    assert!(Miwae::new(0).is_err() && Piwae::new(0).is_err());
    let uneven = Objective::<MlpVae>::check_samples(&Miwae::new(4).unwrap(), 6).unwrap_err();
    assert_eq!(uneven.to_string(), "num_samples is 6, which does not split evenly into 4 groups");
}
