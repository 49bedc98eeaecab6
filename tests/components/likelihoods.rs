//! Compares the likelihoods, in value and gradient, with independent references
//! (`fixtures/likelihoods.py`), and checks properties of every distribution and of its samples.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::likelihood::{
    CategoricalNll, ContinuousBernoulliNll, DiscretizedLogisticMixtureNll, DiscretizedLogisticNll,
    GaussianNllConfig, LaplaceNllConfig, NegativeBinomialNllConfig, PoissonNll, StudentTNllConfig,
    Support,
};
use burn_vae::{BernoulliNll, Likelihood, ModuleConfig, Seed};
use serde::Deserialize;
use serde_json::{Value, json};

/// The methods of a likelihood of any type.
trait Any {
    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2>;
    fn mean(&self, params: Tensor<2>) -> Tensor<2>;
    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2>;
    fn support(&self) -> Support;
    fn params_per_value(&self) -> usize;
}

impl<L: Likelihood> Any for L {
    fn nll(&self, params: Tensor<3>, x: Tensor<2>) -> Tensor<2> {
        Likelihood::nll(self, params, x)
    }
    fn mean(&self, params: Tensor<2>) -> Tensor<2> {
        Likelihood::mean(self, params)
    }
    fn sample(&self, params: Tensor<2>, seed: Seed) -> Tensor<2> {
        Likelihood::sample(self, params, seed)
    }
    fn support(&self) -> Support {
        Likelihood::support(self)
    }
    fn params_per_value(&self) -> usize {
        Likelihood::params_per_value(self)
    }
}

type Read = fn(&Value) -> Option<Box<dyn Any>>;

fn read<C: ModuleConfig<Module: Likelihood + 'static>>(config: &Value) -> Option<Box<dyn Any>> {
    let config = serde_json::from_value::<C>(config.clone()).ok()?;
    Some(Box::new(config.init(Seed::new(0), &Device::flex()).unwrap()))
}

/// Builds the only likelihood that a configuration fits.
fn build(config: &Value) -> Box<dyn Any> {
    let all: [Read; 10] = [
        read::<BernoulliNll>,
        read::<CategoricalNll>,
        read::<ContinuousBernoulliNll>,
        read::<DiscretizedLogisticMixtureNll>,
        read::<DiscretizedLogisticNll>,
        read::<GaussianNllConfig>,
        read::<LaplaceNllConfig>,
        read::<NegativeBinomialNllConfig>,
        read::<PoissonNll>,
        read::<StudentTNllConfig>,
    ];
    let mut found = all.iter().filter_map(|read| read(config)).collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{config} describes {} likelihoods", found.len());
    found.remove(0)
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[derive(Deserialize)]
struct Table {
    likelihood: Value,
    rows: Vec<Row>,
}

#[derive(Deserialize, Debug)]
struct Row {
    params: Vec<f32>,
    x: Vec<f32>,
    value: f64,
    size: f64,
    grads: Vec<f64>,
    grad_sizes: Vec<f64>,
}

/// Each reference comes with a size: how far relative errors in the inputs would move the value. A
/// few roundings, 2^-24 of that size each, are allowed; no 32-bit implementation does better than
/// one.
#[test]
fn values_and_gradients_are_those_of_the_references() {
    const ROUNDINGS: f64 = 8.0;
    let tables = serde_json::from_str::<Vec<Table>>(include_str!("../fixtures/likelihoods.json"));
    for Table { likelihood: config, rows } in tables.unwrap() {
        let likelihood = build(&config);
        let device = Device::flex().autodiff();
        let (n, p, d) = (rows.len(), rows[0].params.len(), rows[0].x.len());
        assert_eq!(p, d * likelihood.params_per_value(), "{config}");
        let column = |f: fn(&Row) -> &[f32]| rows.iter().flat_map(f).copied().collect::<Vec<_>>();
        let params = tensor(column(|row| &row.params), [1, n, p], &device).require_grad();
        let x = tensor(column(|row| &row.x), [n, d], &device);
        let nll = likelihood.nll(params.clone(), x);
        let grads = values(params.grad(&nll.clone().sum().backward()).unwrap());

        let mut worst = [0.0f64; 2];
        let mut check = |what: usize, found: f64, expected: f64, size: f64, row: &Row| {
            let allowed = size * f64::from(f32::EPSILON) / 2.0 + f64::from(f32::MIN_POSITIVE);
            let roundings = (found - expected).abs() / allowed;
            let quantity = ["value", "gradient"][what];
            assert!(
                roundings <= ROUNDINGS,
                "{config}: {quantity} {found} is not {expected}, off by {roundings} roundings: {row:?}"
            );
            worst[what] = worst[what].max(roundings);
        };
        for (i, (row, nll)) in rows.iter().zip(values(nll)).enumerate() {
            check(0, nll, row.value, row.size, row);
            for (j, (&grad, &size)) in row.grads.iter().zip(&row.grad_sizes).enumerate() {
                check(1, grads[i * p + j], grad, size, row);
            }
        }
        println!("{config}: at most {:.2} roundings, {:.2} in gradients", worst[0], worst[1]);
    }
}

/// Points of an integral or a sum over all `x`, with their weights.
fn grid(support: Support, [centre, scale]: [f64; 2]) -> Vec<[f64; 2]> {
    match support {
        Support::Real => {
            // Far out on both sides, in growing steps.
            let step = 0.005;
            let at = |i: i32| f64::from(i) * step;
            let point = |t: f64| [centre + scale * t.sinh(), scale * t.cosh() * step];
            (-4000..=4000).map(|i| point(at(i))).collect()
        }
        Support::Binary => vec![[0.0, 1.0], [1.0, 1.0]],
        Support::UnitInterval => {
            (0..20_000).map(|i| [(f64::from(i) + 0.5) / 2e4, 1.0 / 2e4]).collect()
        }
        Support::Levels(levels) => {
            (0..levels).map(|k| [f64::from(k) / f64::from(levels - 1), 1.0]).collect()
        }
        Support::Count => (0..6000).map(|x| [f64::from(x), 1.0]).collect(),
        other => unreachable!("{other:?}"),
    }
}

const PREDICTED: &str = r#"{"source": "predicted"}"#;

/// Distributions of a single value, with the centre and scale of a grid for them.
fn examples() -> Vec<(Value, Vec<f32>, [f64; 2])> {
    let predicted = serde_json::from_str::<Value>(PREDICTED).unwrap();
    let fixed = json!({"source": {"fixed": {"value": 0.25}}});
    let unit = [0.0, 1.0];
    let levels = |levels: u32| json!({"DiscretizedLogisticNll": {"levels": levels}});
    let mixture = json!({"DiscretizedLogisticMixtureNll": {"levels": 256, "components": 2}});
    let negative = |total: &Value| json!({"NegativeBinomialNll": {"total_count": total}});
    let student = json!({"StudentTNll": {"scale": predicted.clone(), "degrees_of_freedom": 9.0}});
    vec![
        (json!({"GaussianNll": {"scale": predicted.clone()}}), vec![3.0, -2.0], [3.0, 0.14]),
        (json!({"GaussianNll": {"scale": fixed.clone()}}), vec![-1.0], [-1.0, 0.25]),
        (json!({"LaplaceNll": {"scale": predicted.clone()}}), vec![-0.5, 1.5], [-0.5, 4.5]),
        (student, vec![0.1, -1.0], [0.1, 0.37]),
        (json!("BernoulliNll"), vec![0.7], unit),
        (json!("ContinuousBernoulliNll"), vec![0.0], unit),
        (json!("ContinuousBernoulliNll"), vec![-0.9], unit),
        (json!("ContinuousBernoulliNll"), vec![1.1], unit),
        (json!("ContinuousBernoulliNll"), vec![-50.0], unit),
        (levels(256), vec![0.4, -3.0], unit),
        (levels(256), vec![1.1, -1.0], unit),
        (levels(256), vec![0.5, -6.5], unit),
        (levels(2), vec![0.3, 0.5], unit),
        (levels(5), vec![0.3752, -8.0], unit),
        (mixture, vec![0.5, -0.5, 0.1, 0.8, -2.0, -5.0], unit),
        (json!("PoissonNll"), vec![-1.0], unit),
        (json!("PoissonNll"), vec![5.0], unit),
        (negative(&predicted), vec![2.0, 0.5], unit),
        (negative(&predicted), vec![4.0, 6.0], unit),
        (negative(&fixed), vec![1.0], unit),
    ]
}

/// Probabilities sum to 1, densities integrate to 1, and the mean and the samples are those of the
/// distribution.
#[test]
fn distributions_are_whole_and_their_means_and_draws_are_theirs() {
    const DRAWS: usize = 20_000;
    let device = Device::flex();
    for (config, params, place) in examples() {
        let likelihood = build(&config);
        let grid = grid(likelihood.support(), place);
        let (n, p) = (grid.len(), params.len());
        let x = grid.iter().map(|&[x, _]| x as f32).collect();
        let nll = likelihood
            .nll(tensor(params.repeat(n), [1, n, p], &device), tensor(x, [n, 1], &device));
        let weight = grid.iter().zip(values(nll)).map(|([_, dx], nll)| dx * (-nll).exp());
        let weights = weight.collect::<Vec<_>>();
        let moment = |f: &dyn Fn(f64) -> f64| {
            grid.iter().zip(&weights).map(|([x, _], weight)| weight * f(*x)).sum::<f64>()
        };
        let total = moment(&|_| 1.0);
        assert!((total - 1.0).abs() < 3e-5, "{config} {params:?}: a total of {total}");
        let mean = moment(&|x| x);
        let variance = moment(&|x| (x - mean).powi(2));
        let found = values(likelihood.mean(tensor(params.clone(), [1, p], &device)))[0];
        let error = (found - mean).abs() / (mean.abs() + variance.sqrt());
        assert!(error < 1e-4, "{config} {params:?}: a mean of {found}, not {mean}");

        let rows = tensor(params.repeat(DRAWS), [DRAWS, p], &device);
        let draws = values(likelihood.sample(rows.clone(), Seed::new(3)));
        assert_eq!(draws.len(), DRAWS);
        let again = |seed| values(likelihood.sample(rows.clone(), Seed::new(seed))) == draws;
        assert!(again(3) && !again(4), "{config} {params:?}");
        let mean_of =
            |f: &dyn Fn(f64) -> f64| draws.iter().map(|&x| f(x)).sum::<f64>() / DRAWS as f64;
        let errors = |found: f64, expected: f64, variance: f64| {
            (found - expected).abs() / (variance / DRAWS as f64).sqrt()
        };
        let found = mean_of(&|x| x);
        let off = errors(found, mean, variance);
        assert!(off < 4.0, "{config} {params:?}: draws have a mean of {found}, not {mean}");
        let found = mean_of(&|x| (x - mean).powi(2));
        let off = errors(found, variance, mean_of(&|x| ((x - mean).powi(2) - found).powi(2)));
        assert!(off < 4.0, "{config} {params:?}: draws vary by {found}, not {variance}");
        let on_support = |x: f64| match likelihood.support() {
            Support::Real => x.is_finite(),
            Support::Binary => x == 0.0 || x == 1.0,
            Support::UnitInterval => (0.0..=1.0).contains(&x),
            Support::Levels(n) => {
                let level = x * f64::from(n - 1);
                (0.0..=1.0).contains(&x) && (level - level.round()).abs() < 1e-4
            }
            Support::Count => x >= 0.0 && x.fract() == 0.0,
            other => unreachable!("{other:?}"),
        };
        assert!(draws.iter().all(|&x| on_support(x)), "{config} {params:?}");
    }
}

#[test]
fn categorical_probabilities_and_draws() {
    const DRAWS: usize = 20_000;
    let device = Device::flex();
    let likelihood = build(&json!({"CategoricalNll": {"classes": 3}}));
    let logits = vec![0.5f32, -1.0, 2.0, 0.0, 0.0, -4.0]; // two variables
    let mean = values(likelihood.mean(tensor(logits.clone(), [1, 6], &device)));
    for (i, p) in mean.iter().enumerate() {
        let x = (0..3).map(|c| f32::from(u8::from(c == i % 3))).collect::<Vec<_>>();
        let of_one = logits[i / 3 * 3..i / 3 * 3 + 3].to_vec();
        let of_one = tensor(of_one, [1, 1, 3], &device);
        let nll = values(likelihood.nll(of_one, tensor(x, [1, 3], &device)))[0];
        assert!(((-nll).exp() - p).abs() < 1e-6, "{i}: {nll} {p}");
    }
    let rows = tensor(logits.repeat(DRAWS), [DRAWS, 6], &device);
    let draws = values(likelihood.sample(rows, Seed::new(1)));
    for variable in draws.chunks_exact(3) {
        assert!(variable.iter().all(|&x| x == 0.0 || x == 1.0));
        assert_eq!(variable.iter().sum::<f64>(), 1.0);
    }
    for (i, p) in mean.into_iter().enumerate() {
        let found = draws.iter().skip(i).step_by(6).sum::<f64>() / DRAWS as f64;
        let error = (p * (1.0 - p) / DRAWS as f64).sqrt();
        assert!((found - p).abs() < 4.0 * error, "{i}: {found} is not {p}");
    }
}

/// Negating the logit and reflecting the value gives the same density, so the constant is even in
/// the logit.
#[test]
fn the_constant_of_the_continuous_bernoulli_is_even() {
    let device = Device::flex();
    let log_constant = |l: f32, x: f32| {
        let nll = |likelihood: &dyn Any| {
            values(
                likelihood
                    .nll(tensor(vec![l], [1, 1, 1], &device), tensor(vec![x], [1, 1], &device)),
            )[0]
        };
        nll(&BernoulliNll) - nll(&ContinuousBernoulliNll)
    };
    assert_eq!(log_constant(0.0, 0.25), f64::from(2f32.ln()));
    for l in [1e-5f32, 1e-3, 0.1, 0.5, 0.999, 1.0, 1.5, 7.0, 30.0, 300.0] {
        let (ahead, behind) = (log_constant(l, 0.25), log_constant(-l, 0.25));
        let l = f64::from(l);
        let expected = (l / (l / 2.0).tanh()).ln();
        for found in [ahead, behind] {
            assert!((found - expected).abs() < 4e-7 * l.max(1.0), "{l}: {found} is not {expected}");
        }
    }
}

#[test]
fn a_mixture_of_one_is_that_one() {
    let device = Device::flex();
    let single = DiscretizedLogisticNll::new(256).unwrap();
    let mixture = |components| DiscretizedLogisticMixtureNll::new(256, components).unwrap();
    let (location, log_scale) = ([0.3f32, -0.2, 0.5, 0.9], [-3.0f32, 0.0, -6.0, -1.5]);
    let x = tensor(vec![0.0, 1.0, 128.0 / 255.0, 0.2], [1, 4], &device);
    let params = |logits: &[[f32; 4]]| {
        let mut params = logits.concat();
        params.extend(location.repeat(logits.len().max(1)));
        params.extend(log_scale.repeat(logits.len().max(1)));
        let len = params.len();
        tensor(params, [1, len], &device)
    };
    let nll = |likelihood: &dyn Any, params: Tensor<2>| {
        let nll = values(likelihood.nll(params.clone().unsqueeze_dim(0), x.clone()))[0];
        let mean = values(likelihood.mean(params));
        (nll, mean)
    };
    let expected = nll(&single, params(&[]));
    assert_eq!(nll(&mixture(1), params(&[[3.0, -2.0, 0.5, 1e4]])), expected);
    let (found, mean) = nll(&mixture(2), params(&[[3.0, -2.0, 0.5, 1.0], [0.0, 1.0, 2.0, 50.0]]));
    assert!((found - expected.0).abs() < 1e-6 * expected.0, "{found} is not {}", expected.0);
    assert!(mean.iter().zip(&expected.1).all(|(a, b)| (a - b).abs() < 1e-6), "{mean:?}");
}

/// Values add up, and samples and examples are independent of each other.
#[test]
fn shapes_and_sums() {
    let device = Device::flex();
    let (samples, batch, data_dim) = (2, 3, 2);
    for (config, params, place) in examples() {
        let likelihood = build(&config);
        let p = params.len();
        // The same example everywhere, in planar order: each parameter of all values after the
        // previous one.
        let planar = params.iter().flat_map(|&value| [value; 2]).collect::<Vec<_>>();
        let x = grid(likelihood.support(), place)[0][0] as f32;
        let nll = |shape: [usize; 3]| {
            let [k, b, d] = shape;
            let params = if d == 1 { params.clone() } else { planar.clone() };
            let params = tensor(params.repeat(k * b), [k, b, p * d], &device);
            likelihood.nll(params, Tensor::full([b, d], x, &device))
        };
        let one = values(nll([1, 1, 1]))[0];
        let all = nll([samples, batch, data_dim]);
        assert_eq!(all.dims(), [samples, batch]);
        for found in values(all) {
            assert!((found - 2.0 * one).abs() <= 1e-6 * one.abs(), "{config}: {found} {one}");
        }
        let planar = tensor(planar.repeat(3), [3, p * data_dim], &device);
        assert_eq!(likelihood.mean(planar.clone()).dims(), [3, data_dim]);
        assert_eq!(likelihood.sample(planar, Seed::new(0)).dims(), [3, data_dim]);
    }
}

/// The sum over all levels in 64 bits, and how far it moves if location and log-scale are off by
/// their own size.
fn mean_over_levels(levels: u32, m: f64, v: f64) -> [f64; 2] {
    let steps = f64::from(levels - 1);
    let (mut mean, mut by_m, mut by_v) = (0.0, 0.0, 0.0);
    for k in 0..levels - 1 {
        let x = (m - (f64::from(k) + 0.5) / steps) / v.exp();
        let far = (-x.abs()).exp();
        let (above, slope) = (1.0 / (1.0 + far), far / (1.0 + far).powi(2));
        mean += if x > 0.0 { above } else { far * above };
        by_m += slope / v.exp();
        by_v += if slope > 0.0 { slope * x } else { 0.0 };
    }
    let mean = mean / steps;
    [mean, mean + ((m * by_m).abs() + (v * by_v).abs()) / steps]
}

/// For any number of levels, and every location and scale in the documented range.
#[test]
fn means_over_levels_are_right_to_rounding() {
    let device = Device::flex();
    let log_scales = [
        -80.0f32, -40.0, -20.0, -12.0, -11.0, -10.5, -10.0, -9.0, -7.0, -6.0, -5.5, -5.0, -4.5,
        -4.0, -3.0, -2.5, -2.0, -1.0, 0.0, 0.5, 2.0, 5.0, 10.0, 40.0, 80.0,
    ];
    let locations = [
        -1e3f32, -30.0, -0.5, -0.03, 0.0, 1e-3, 0.1, 0.3, 0.5, 0.501, 0.7, 0.99, 1.0, 1.04, 30.0,
        1e3,
    ];
    let at = log_scales.iter().flat_map(|&v| locations.iter().map(move |&m| (m, v)));
    let (m, v) = at.unzip::<f32, f32, Vec<_>, Vec<_>>();
    let len = m.len();
    for levels in [2u32, 3, 5, 9, 16, 17, 18, 33, 60, 256, 1000, 65_536] {
        let likelihood = DiscretizedLogisticNll::new(levels).unwrap();
        let params = tensor([m.clone(), v.clone()].concat(), [1, 2 * len], &device);
        let mut worst = 0.0f64;
        for ((m, v), found) in m.iter().zip(&v).zip(values(Likelihood::mean(&likelihood, params))) {
            let [expected, size] = mean_over_levels(levels, f64::from(*m), f64::from(*v));
            let allowed = size * f64::from(f32::EPSILON) / 2.0 + f64::from(f32::MIN_POSITIVE);
            let roundings = (found - expected).abs() / allowed;
            assert!(
                roundings <= 6.0,
                "{levels} levels, {m} {v}: {found} is not {expected}, off by {roundings} roundings"
            );
            worst = worst.max(roundings);
        }
        println!("{levels} levels: at most {worst:.2} roundings");
    }
    // A sequential 32-bit sum of the 65,535 terms gave 0.300086.
    let one = tensor(vec![0.3, -3.0], [1, 2], &device);
    let mean = values(Likelihood::mean(&DiscretizedLogisticNll::new(65_536).unwrap(), one))[0];
    assert!((mean - 0.300_120).abs() < 1e-6, "{mean}");
}
