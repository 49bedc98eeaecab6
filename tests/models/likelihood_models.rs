//! Likelihoods in models: configurations, rejected arguments, training, scales.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::likelihood::{
    CategoricalNll, ContinuousBernoulliNll, DiscretizedLogisticMixtureNll, DiscretizedLogisticNll,
    GaussianNll, GaussianNllConfig, LaplaceNllConfig, NegativeBinomialNllConfig, PoissonNll, Scale,
    ScaleConfig, StudentTNll, StudentTNllConfig,
};
use burn_vae::prior::StandardNormal;
use burn_vae::{
    Elbo, Inputs, Likelihood, ModuleConfig, NoiseSource, Objective, Seed, VaeConfig, saved,
};

const DATA_DIM: usize = 6;

type Config<L> = VaeConfig<MlpEncoderConfig, MlpDecoderConfig, L, StandardNormal>;

fn config<L>(likelihood: L, params_per_value: usize) -> Config<L> {
    VaeConfig {
        encoder: MlpEncoderConfig::new(DATA_DIM, [8], 2),
        decoder: MlpDecoderConfig::new(2, [8], DATA_DIM * params_per_value),
        likelihood,
        prior: StandardNormal,
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new::<f32, _>(values.to_vec(), shape), device)
}

/// The parameters of a module and, with `grads`, their gradients, which must exist and be finite.
#[derive(Default)]
struct Collect<'a> {
    grads: Option<&'a Gradients>,
    found: Vec<f32>,
}

impl<'a> Collect<'a> {
    fn params<M: Module>(module: &M) -> Vec<f32> {
        let mut collect = Self::default();
        module.visit(&mut collect);
        collect.found
    }

    fn grads<M: Module>(module: &M, grads: &'a Gradients) -> Vec<f32> {
        let mut collect = Self { grads: Some(grads), found: Vec::new() };
        module.visit(&mut collect);
        assert!(collect.found.iter().all(|grad| grad.is_finite()), "{:?}", collect.found);
        collect.found
    }
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let found = match self.grads {
            Some(grads) => param.val().grad(grads).expect("a gradient"),
            None => param.val(),
        };
        self.found.extend(values(found));
    }
}

/// Serialises a configuration and reads it back, checks that the model has a finite bound with
/// gradients for all parameters, that all of the likelihood's parameters move in a step, and that
/// the model can be saved and loaded.
fn lives<L>(likelihood: L, params_per_value: usize, x: [f32; DATA_DIM], learned: usize)
where
    L: ModuleConfig<Module: Likelihood> + PartialEq + std::fmt::Debug,
{
    let config = config(likelihood, params_per_value);
    let json = serde_json::to_string(&config).unwrap();
    let read = serde_json::from_str::<Config<L>>(&json).unwrap();
    assert_eq!(read, config, "{json}");
    let with_more = json.replacen("\"likelihood\":{", "\"likelihood\":{\"more\":1,", 1);
    assert!(with_more == json || serde_json::from_str::<Config<L>>(&with_more).is_err(), "{json}");

    let device = Device::flex();
    let vae = read.init(Seed::new(1), &device).unwrap();
    assert_eq!(
        Collect::params(&vae),
        Collect::params(&config.init(Seed::new(1), &device).unwrap())
    );
    let vae = vae.train();
    let device = vae.device();
    let x = tensor(&[x, x, x].concat(), [3, DATA_DIM], &device);
    let noise = NoiseSource::new(2).draw(0, [4, 3, 2], &device);
    let terms = Elbo::default().terms(&vae, Inputs::new(x.clone(), noise));
    assert!(values(terms.loss.clone()).iter().all(|loss| loss.is_finite()), "{json}");
    let grads = terms.mean().backward();
    Collect::grads(&vae, &grads);
    let of_likelihood = Collect::grads(&vae.likelihood, &grads);
    assert_eq!(of_likelihood.len(), learned, "{json}");
    assert!(of_likelihood.iter().all(|&grad| grad != 0.0), "{json}: {of_likelihood:?}");

    let before = Collect::params(&vae.likelihood);
    let grads = GradientsParams::from_grads(grads, &vae);
    let vae = AdamConfig::new().init().step(1e-2, vae, grads);
    let after = Collect::params(&vae.likelihood);
    for ((before, after), grad) in before.iter().zip(&after).zip(of_likelihood) {
        assert!((after - before) * grad < 0.0, "{json}: from {before} to {after} along {grad}");
    }

    let vae = vae.valid();
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &vae).unwrap();
    let (_, loaded) = saved::load::<Config<L>>(dir.path(), &Device::flex()).unwrap();
    assert_eq!(Collect::params(&loaded), Collect::params(&vae));
    let x = tensor(&values(x), [3, DATA_DIM], &Device::flex());
    let mean = values(vae.reconstruct(x.clone()).unwrap());
    assert_eq!(mean, values(loaded.reconstruct(x).unwrap()));
    assert!(mean.iter().all(|x| x.is_finite()), "{json}");
}

#[test]
fn every_likelihood_lives_in_a_model() {
    let real = [0.5, -1.0, 2.0, 0.0, 3.5, -0.25];
    let grey = [0.0, 1.0, 0.3, 0.5, 0.75, 0.01];
    let levels = [0.0, 1.0, 85.0 / 255.0, 1.0 / 255.0, 204.0 / 255.0, 0.2];
    let counts = [0.0, 1.0, 2.0, 3.0, 1.0, 5.0];
    let scales = [
        (ScaleConfig::fixed(0.5), 1, 0),
        (ScaleConfig::learned(2.0), 1, 1),
        (ScaleConfig::learned(2.0).with_floor(0.01), 1, 1),
        (ScaleConfig::learned_per_value(0.7, DATA_DIM), 1, DATA_DIM),
        (ScaleConfig::predicted(), 2, 0),
        (ScaleConfig::predicted().with_floor(1e-3), 2, 0),
    ];
    for (scale, params, learned) in scales {
        lives(GaussianNllConfig::new(scale), params, real, learned);
        lives(LaplaceNllConfig::new(scale), params, real, learned);
        lives(StudentTNllConfig::new(scale, 3.0), params, real, learned);
        lives(NegativeBinomialNllConfig::new(scale), params, counts, learned);
    }
    lives(ContinuousBernoulliNll, 1, grey, 0);
    lives(CategoricalNll::new(3).unwrap(), 1, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0], 0);
    lives(DiscretizedLogisticNll::new(256).unwrap(), 2, levels, 0);
    lives(DiscretizedLogisticMixtureNll::new(256, 3).unwrap(), 9, levels, 0);
    lives(PoissonNll, 1, counts, 0);
}

/// A learned scale is a predicted one that is the same everywhere.
#[test]
fn a_learned_scale_has_the_value_and_gradient_of_predicted_ones() {
    let device = Device::flex().autodiff();
    let noise = |seed| NoiseSource::new(seed).draw(0, [3, 4, 2], &device);
    let (mean, x) = (noise(0), noise(1).narrow(0, 0, 1).squeeze_dim::<2>(0));
    let likelihood = |scale: ScaleConfig| {
        let likelihood = GaussianNllConfig::new(scale).init(Seed::new(0), &Device::flex()).unwrap();
        likelihood.train()
    };
    for floor in [None, Some(0.2)] {
        let with_floor = |scale| ScaleConfig { floor, ..scale };
        for (scale, one_each) in
            [(ScaleConfig::learned(0.6), false), (ScaleConfig::learned_per_value(0.6, 2), true)]
        {
            let learned = likelihood(with_floor(scale));
            let log_scale = learned.scale.log_scale(&device).unwrap();
            assert!(values(log_scale).iter().all(|v| (v - 0.6f32.ln()).abs() < 1e-6), "{scale:?}");
            let raw = Collect::params(&learned)[0];
            let predicted = likelihood(with_floor(ScaleConfig::predicted()));
            let raw = Tensor::<3>::full([3, 4, 2], raw, &device).require_grad();
            let params = Tensor::cat(vec![mean.clone(), raw.clone()], 2);

            let (a, b) = (learned.nll(mean.clone(), x.clone()), predicted.nll(params, x.clone()));
            assert_eq!(values(a.clone()), values(b.clone()));
            let found = Collect::grads(&learned, &a.sum().backward());
            let grads = values(raw.grad(&b.sum().backward()).unwrap());
            let sum =
                |offset: usize, step: usize| grads.iter().skip(offset).step_by(step).sum::<f32>();
            let expected = if one_each { vec![sum(0, 2), sum(1, 2)] } else { vec![sum(0, 1)] };
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{scale:?}");
            }
        }
    }
}

#[test]
fn a_floor_holds_without_stopping_the_gradient() {
    let device = Device::flex().autodiff();
    let floor = ScaleConfig::predicted().with_floor(0.1);
    let scale = floor.init(Seed::new(0), &device).unwrap();
    let raw = [-40.0f32, -3.0, -2.3, 0.0, 5.0];
    let params = tensor(&[[0.0f32; 5], raw].concat(), [1, 10], &device).require_grad();
    let (first, log_scale) = scale.split(params.clone());
    assert_eq!(values(first), [0.0; 5]);
    let grads = values(params.grad(&log_scale.clone().sum().backward()).unwrap());
    for ((raw, found), grad) in raw.iter().zip(values(log_scale)).zip(&grads[5..]) {
        assert!(found >= 0.1f32.ln() && *grad > 0.0, "{raw}: {found}, {grad}");
        let expected = (0.1 + raw.exp()).ln(); // log(min) + softplus(v - log(min))
        assert!((found - expected).abs() < 1e-6, "{raw}: {found} is not {expected}");
    }
    assert!(scale.log_scale(&device).is_none());
}

#[test]
fn invalid_likelihoods_are_refused_with_a_message() {
    let device = Device::flex();
    let scale = |config: ScaleConfig| config.init(Seed::new(0), &Device::flex()).err();
    let model = |per_value: usize, scale: ScaleConfig| {
        config(GaussianNllConfig::new(scale), per_value).init(Seed::new(0), &device).err()
    };
    let unit = || Scale::fixed(1.0).unwrap();
    let classes = |classes: usize| {
        let likelihood = CategoricalNll::new(classes).unwrap();
        config(likelihood, 1).init(Seed::new(0), &device).err()
    };
    let read = |json: &str| serde_json::from_str::<CategoricalNll>(json).unwrap();
    let built = |json: &str| read(json).init(Seed::new(0), &device).err();
    let cases = [
        (Scale::fixed(0.0).err(), "the fixed scale is 0, but it must be above 0"),
        (Scale::fixed(f64::NAN).err(), "the fixed scale is NaN"),
        (Scale::fixed(1e300).err(), "but it must be above 0 and finite"),
        (Scale::learned(-1.0, &device).err(), "the initial scale is -1"),
        (Scale::learned_per_value(1.0, 0, &device).err(), "data_dim"),
        (scale(ScaleConfig::learned(0.1).with_floor(0.1)), "above the floor, 0.1"),
        (scale(ScaleConfig::predicted().with_floor(0.0)), "the floor of a scale is 0"),
        (scale(ScaleConfig::fixed(1.0).with_floor(0.1)), "a fixed scale has a floor"),
        (scale(ScaleConfig::fixed(-1.0)), "the fixed scale is -1"),
        (StudentTNll::new(unit(), 0.0).err(), "degrees of freedom is 0"),
        (StudentTNll::new(unit(), f64::INFINITY).err(), "degrees of freedom is inf"),
        (CategoricalNll::new(1).err(), "has 1 classes, but it must have at least 2"),
        (built(r#"{"CategoricalNll": {"classes": 0}}"#), "has 0 classes"),
        (DiscretizedLogisticNll::new(1).err(), "has 1 levels, but it must have from 2"),
        (DiscretizedLogisticMixtureNll::new(0, 3).err(), "has 0 levels"),
        (DiscretizedLogisticMixtureNll::new(256, 0).err(), "has 0 components"),
        (classes(4), "a categorical likelihood needs a multiple of its 4 classes"),
        (
            model(1, ScaleConfig::learned_per_value(1.0, 5)),
            "a learned scale for each of 5 values, but an example has 6",
        ),
        (model(1, ScaleConfig::predicted()), "the likelihood needs 2 for each of the 6 values"),
        (model(1, ScaleConfig::fixed(-2.0)), "likelihood: the fixed scale is -2"),
    ];
    for (i, (error, message)) in cases.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("case {i} is not refused: {message}"));
        assert!(error.to_string().contains(message), "case {i}: {error}");
    }
}

/// A configuration is read as its own type only.
#[test]
fn configurations_name_their_likelihood() {
    let gaussian = GaussianNllConfig::new(ScaleConfig::learned(0.5).with_floor(0.125));
    let json = serde_json::to_string(&gaussian).unwrap();
    let expected =
        r#"{"GaussianNll":{"scale":{"source":{"learned":{"initial":0.5}},"floor":0.125}}}"#;
    assert_eq!(json, expected);
    assert!(serde_json::from_str::<LaplaceNllConfig>(&json).is_err());
    for (from, to) in [
        ("\"floor\"", "\"flor\""),
        ("\"initial\"", "\"value\""),
        ("\"learned\"", "\"learnt\""),
        ("{\"scale\"", "{\"more\":1,\"scale\""),
    ] {
        let json = json.replace(from, to);
        assert!(serde_json::from_str::<GaussianNllConfig>(&json).is_err(), "{json}");
    }
    let without = r#"{"GaussianNll":{"scale":{"source":"predicted"}}}"#;
    let read = serde_json::from_str::<GaussianNllConfig>(without).unwrap();
    assert_eq!(read, GaussianNllConfig::new(ScaleConfig::predicted()));
    let _: GaussianNll = read.init(Seed::new(0), &Device::flex()).unwrap();
}
