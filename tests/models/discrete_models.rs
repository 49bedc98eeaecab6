//! Models with codes of a few bits or variables, whose exact values follow by enumeration.

use std::sync::{Arc, LazyLock};

use crate::parameters::filled;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn_vae::data::mnist::Mnist;
use burn_vae::data::{Binarized, ByteImages, Examples, Table};
use burn_vae::decoder::{MlpDecoder, MlpDecoderConfig};
use burn_vae::divergence::MonteCarloKl;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::eval::{FittedGaussian, ImportanceSampling, evaluate, log_likelihood};
use burn_vae::objective::Iwae;
use burn_vae::posterior::{BernoulliFamily, CategoricalFamily, Density, Family, Head, Temperature};
use burn_vae::prior::{
    BernoulliPrior, BernoulliPriorConfig, CategoricalPrior, CategoricalPriorConfig,
    Distribution as _,
};
use burn_vae::train::{Existing, Progress, TrainConfig, Trained, Trainer};
use burn_vae::{
    BernoulliNll, Divergence, Elbo, Encoder, ErrorKind, Inputs, KlDivergence, Model as _,
    ModuleConfig, NoiseSource, Objective, Phase, Posterior, Prior, Seed, Vae, saved,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal as Normal};

const DATA: usize = 4;

type Model<F, P> = Vae<MlpEncoder<<F as Family>::Head>, MlpDecoder, BernoulliNll, P>;
type Bits = Model<BernoulliFamily, BernoulliPrior>;
type Variables = Model<CategoricalFamily, CategoricalPrior>;

/// The parameters of a model with linear networks, and one example.
struct Numbers {
    /// `[DATA, latent_dim]` and `[latent_dim]`.
    encoder: (Vec<f64>, Vec<f64>),
    /// `[latent_dim, DATA]` and `[DATA]`.
    decoder: (Vec<f64>, Vec<f64>),
    prior: Vec<f64>,
    x: Vec<f64>,
    latent_dim: usize,
    /// Categories per variable; 1 for bits.
    categories: usize,
}

impl Numbers {
    fn random(seed: u64, latent_dim: usize, categories: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = |n: usize, scale: f64| {
            let value = |_| {
                let value: f64 = Normal.sample(&mut rng);
                f64::from((value * scale) as f32) // what the model computes with
            };
            (0..n).map(value).collect::<Vec<_>>()
        };
        let encoder = (normal(DATA * latent_dim, 0.7), normal(latent_dim, 0.5));
        let decoder = (normal(latent_dim * DATA, 1.5), normal(DATA, 0.5));
        let prior = normal(latent_dim, 0.5);
        let x = normal(DATA, 1.0).iter().map(|&v| f64::from(u8::from(v > 0.0))).collect();
        Self { encoder, decoder, prior, x, latent_dim, categories }
    }

    /// Sets the parameters, in the model's order.
    fn fill<F: Family, P: Prior<MlpEncoder<F::Head>>>(&self, model: Model<F, P>) -> Model<F, P> {
        let parts = [&self.encoder.0, &self.encoder.1, &self.decoder.0, &self.decoder.1];
        let values = parts.into_iter().chain([&self.prior]).flatten();
        filled(model, values.map(|&value| value as f32).collect())
    }

    fn bits(&self, family: BernoulliFamily, relaxed: Option<Temperature>) -> Bits {
        let prior = BernoulliPriorConfig::new().with_logits(vec![0.0; self.latent_dim]);
        let prior = BernoulliPriorConfig { temperature: relaxed, ..prior };
        self.fill::<BernoulliFamily, _>(model(family, prior, self.latent_dim, DATA))
    }

    fn variables(&self, family: CategoricalFamily, relaxed: Option<Temperature>) -> Variables {
        let prior = CategoricalPriorConfig::new(family.categories);
        let prior = prior.with_logits(vec![0.0; self.latent_dim]);
        let prior = CategoricalPriorConfig { temperature: relaxed, ..prior };
        self.fill::<CategoricalFamily, _>(model(family, prior, self.latent_dim, DATA))
    }

    /// All codes.
    fn codes(&self) -> Vec<Vec<f64>> {
        let values = self.categories.max(2);
        let variables = self.latent_dim / self.categories;
        let code = |i: usize| {
            let of_variable = |v: usize| {
                let value = i / values.pow(v as u32) % values;
                match self.categories {
                    1 => vec![value as f64],
                    n => (0..n).map(|c| f64::from(u8::from(c == value))).collect(),
                }
            };
            (0..variables).flat_map(of_variable).collect()
        };
        (0..values.pow(variables as u32)).map(code).collect()
    }

    /// `log p(z)` given the logits.
    fn log_mass(&self, logits: &[f64], z: &[f64]) -> f64 {
        let groups = logits.chunks(self.categories).zip(z.chunks(self.categories));
        let one = |(l, z): (&[f64], &[f64])| match self.categories {
            1 => z[0] * l[0] - l[0].exp().ln_1p(),
            _ => {
                let total = l.iter().map(|l| l.exp()).sum::<f64>().ln();
                l.iter().zip(z).map(|(l, z)| z * (l - total)).sum()
            }
        };
        groups.map(one).sum()
    }

    /// `log p(x|z)`
    fn log_likelihood(&self, z: &[f64]) -> f64 {
        let (weight, bias) = &self.decoder;
        let one = |j: usize| {
            let sum = z.iter().enumerate().map(|(i, z)| z * weight[i * DATA + j]).sum::<f64>();
            let logit = sum + bias[j];
            self.x[j] * logit - logit.exp().ln_1p()
        };
        (0..DATA).map(one).sum()
    }

    fn posterior(&self) -> Vec<f64> {
        let (weight, bias) = &self.encoder;
        let n = self.latent_dim;
        let one = |j: usize| {
            bias[j] + self.x.iter().enumerate().map(|(i, x)| x * weight[i * n + j]).sum::<f64>()
        };
        (0..n).map(one).collect()
    }

    /// `log p(x)`
    fn evidence(&self) -> f64 {
        let joint = |z: &Vec<f64>| (self.log_mass(&self.prior, z) + self.log_likelihood(z)).exp();
        self.codes().iter().map(joint).sum::<f64>().ln()
    }

    /// The closed-form divergence, and mean and variance of `-log p(x|z)` and of the NELBO with one
    /// sample.
    fn terms(&self) -> (f64, [f64; 2], [f64; 2]) {
        let logits = self.posterior();
        let mut sums = [0.0; 5];
        for z in self.codes() {
            let (q, p) = (self.log_mass(&logits, &z), self.log_mass(&self.prior, &z));
            let nll = -self.log_likelihood(&z);
            let of_z = [q - p, nll, nll * nll, nll + q - p, (nll + q - p).powi(2)];
            sums.iter_mut().zip(of_z).for_each(|(sum, value)| *sum += q.exp() * value);
        }
        let [kl, nll, square, nelbo, nelbo_square] = sums;
        (kl, [nll, square - nll * nll], [nelbo, nelbo_square - nelbo * nelbo])
    }

    /// The example, `rows` times.
    fn data(&self, rows: usize) -> Arc<dyn Examples> {
        let values = self.x.iter().map(|&x| x as f32).collect::<Vec<_>>().repeat(rows);
        Arc::new(Table::new(values, ["a", "b", "c", "d"]).unwrap())
    }

    fn x(&self, rows: usize) -> Tensor<2> {
        let x = self.x.iter().map(|&x| x as f32).collect::<Vec<_>>();
        let x = Tensor::<1>::from_data(x.as_slice(), &Device::flex());
        x.unsqueeze_dim::<2>(0).repeat_dim(0, rows)
    }
}

fn model<F: Family, P: ModuleConfig<Module: Prior<MlpEncoder<F::Head>>>>(
    family: F,
    prior: P,
    latent_dim: usize,
    data_dim: usize,
) -> Model<F, P::Module> {
    let (seed, device) = (Seed::new(0), Device::flex());
    let encoder = MlpEncoderConfig::new(data_dim, [], latent_dim).with_posterior(family);
    let decoder = MlpDecoderConfig::new(latent_dim, [], data_dim).init(seed, &device).unwrap();
    let (encoder, prior) = (encoder.init(seed, &device), prior.init(seed, &device));
    Vae::new(encoder.unwrap(), decoder, BernoulliNll, prior.unwrap()).unwrap()
}

fn constant(temperature: f64) -> Temperature {
    Temperature::constant(temperature).unwrap()
}

/// Checks that importance sampling reaches the evidence and evaluation the bound, both within four
/// standard errors, whatever relaxation is used in training.
fn check<F, P>(numbers: &Numbers, vae: &Model<F, P>)
where
    F: Family<Head: Head<Posterior: Density>>,
    P: Prior<MlpEncoder<F::Head>>,
    KlDivergence: Divergence<<F::Head as Head>::Posterior, P::Bound>,
{
    const K: usize = 4000;
    const ROUNDING: f64 = 1e-5;
    let noise = NoiseSource::new(3);
    let sampling = ImportanceSampling {
        num_samples: K,
        batch_size: 4,
        rows_at_once: 2000,
        ..ImportanceSampling::default()
    };
    let found = log_likelihood(vae, numbers.data(4), sampling, noise).unwrap();
    let (expected, bound) = (-numbers.evidence(), 4.0 * found.monte_carlo_error + ROUNDING);
    assert!((found.nll - expected).abs() < bound, "{} is not {expected} to {bound}", found.nll);

    let (kl, [nll, nll_variance], [nelbo, variance]) = numbers.terms();
    let closed = evaluate(vae, &Elbo::default(), numbers.data(4), 4, K, noise).unwrap();
    let error = (nll_variance / (4 * K) as f64).sqrt();
    assert!((closed.divergence - kl).abs() < ROUNDING, "{} is not {kl}", closed.divergence);
    assert!(
        (closed.distortion - nll).abs() < 4.0 * error + ROUNDING,
        "{} is not {nll}",
        closed.distortion
    );
    let shares = closed.latents.unwrap().divergence;
    assert!((shares.iter().sum::<f64>() - kl).abs() < ROUNDING, "{shares:?} are not {kl}");
    let by_samples = Elbo::new(MonteCarloKl::default());
    let found = evaluate(vae, &by_samples, numbers.data(4), 4, K, noise).unwrap().nelbo;
    let bound = 4.0 * (variance / (4 * K) as f64).sqrt() + ROUNDING;
    assert!((found - nelbo).abs() < bound, "{found} is not {nelbo} to {bound}");
}

#[test]
fn models_of_bits_are_evaluated_as_what_they_are() {
    for seed in 0..24 {
        let numbers = Numbers::random(seed, 3, 1);
        assert_eq!(numbers.codes().len(), 8);
        let family = BernoulliFamily::new(constant(0.5));
        match seed % 3 {
            0 => check::<BernoulliFamily, _>(&numbers, &numbers.bits(family, None)),
            1 => {
                let vae = numbers.bits(family.straight_through(), None);
                check::<BernoulliFamily, _>(&numbers, &vae);
            }
            _ => {
                let vae = numbers.bits(family, Some(constant(0.5)));
                check::<BernoulliFamily, _>(&numbers, &vae);
            }
        }
    }
}

#[test]
fn models_of_categorical_variables_are_evaluated_as_what_they_are() {
    for seed in 0..24 {
        let numbers = Numbers::random(seed + 100, 6, 2 + seed as usize % 2);
        assert_eq!(numbers.codes().len(), if seed % 2 == 0 { 8 } else { 9 });
        let family = CategoricalFamily::new(numbers.categories, constant(0.5));
        let vae = match seed % 3 {
            0 => numbers.variables(family, None),
            1 => numbers.variables(family.straight_through(), None),
            _ => numbers.variables(family, Some(constant(0.5))),
        };
        check::<CategoricalFamily, _>(&numbers, &vae);
    }
}

/// In training, relaxed posteriors and priors make a model with a continuous code, whose evidence
/// is an integral over the code.
#[test]
fn training_weighs_relaxed_densities() {
    for (seed, t) in [(0, 0.4), (1, 0.7), (2, 1.5)] {
        let numbers = Numbers::random(seed, 1, 1);
        let family = BernoulliFamily::new(constant(t));
        let vae = numbers.bits(family, Some(constant(t)));
        let (rows, k) = (500, 200);
        let noise = NoiseSource::new(seed).draw_for(0, k, rows, &vae.noise(), &Device::flex());
        let inputs = Inputs::new(numbers.x(rows), noise);
        let bounds = |objective: &Iwae, inputs: Inputs| {
            let nelbo = objective.terms(&vae, inputs).nelbo;
            nelbo.into_data().iter::<f64>().map(|n| (-n).exp()).collect::<Vec<_>>()
        };
        let found = bounds(&Iwae::default(), inputs.clone().at(7, Seed::new(0)));
        let n = found.len() as f64;
        let mean = found.iter().sum::<f64>() / n;
        let error = (found.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        // The logistic variable behind the bit has the prior's logit as its mean.
        let expected = (-30_000..30_000).map(|i| {
            let s = f64::from(i) * 1e-3;
            let z = 1.0 / (1.0 + (-(s + numbers.prior[0]) / t).exp());
            let density = 1.0 / ((s / 2.0).cosh() * 2.0).powi(2);
            density * numbers.log_likelihood(&[z]).exp() * 1e-3
        });
        let expected = expected.sum::<f64>();
        assert!((mean - expected).abs() < 4.0 * error, "{mean} +- {error} is not {expected}");
        let discrete = numbers.evidence().exp();
        assert!((expected - discrete).abs() > 10.0 * error, "{expected} {discrete} {error}");
        let outside = bounds(&Iwae::default(), inputs);
        let outside = outside.iter().sum::<f64>() / n;
        assert!((outside - discrete).abs() < (outside - expected).abs(), "{outside} {discrete}");
    }
}

/// The samples of a training step.
#[test]
fn the_step_says_how_samples_are_drawn() {
    let numbers = Numbers::random(5, 3, 1);
    let falling = Temperature::exponential(1.0, 0.1, 0.2).unwrap();
    let noise = |vae: &Bits| NoiseSource::new(0).draw_for(0, 50, 1, &vae.noise(), &Device::flex());
    let draw = |family: BernoulliFamily, step: Option<u64>| {
        let vae = numbers.bits(family, None);
        let phase = step.map_or(Phase::Eval, |step| Phase::Train { step });
        let z = vae.encoder.encode(numbers.x(1), phase).rsample(noise(&vae));
        z.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let is_exact = |z: &[f32]| z.iter().all(|&z| z == 0.0 || z == 1.0);
    let relaxed = BernoulliFamily::new(falling);
    let (first, later) = (draw(relaxed, Some(0)), draw(relaxed, Some(10)));
    assert!(!is_exact(&first) && !is_exact(&later));
    let spread = |z: &[f32]| z.iter().map(|z| (z - 0.5).abs()).sum::<f32>();
    assert!(spread(&first) < spread(&later));
    assert!(is_exact(&draw(relaxed, None)));
    assert_eq!(draw(relaxed.straight_through(), Some(0)), draw(relaxed, None));
    // Outside training the model is not relaxed.
    let vae = numbers.bits(relaxed, None);
    let z = vae.encode(numbers.x(1)).unwrap().rsample(noise(&vae));
    assert_eq!(z.into_data().iter::<f32>().collect::<Vec<_>>(), draw(relaxed, None));
}

/// A few digits, read once for all tests.
fn digits() -> [Arc<dyn Examples>; 2] {
    static IMAGES: LazyLock<[ByteImages; 2]> = LazyLock::new(|| {
        let mnist = Mnist::find(None).unwrap();
        [mnist.train.take(120), mnist.test.take(40)]
    });
    let [train, test] = IMAGES.clone();
    [Arc::new(Binarized::each_epoch(train, 0)), Arc::new(Binarized::each_epoch(test, 1))]
}

fn fit<F, P, O>(
    model: Model<F, P>,
    objective: O,
    epochs: usize,
    dir: Option<&std::path::Path>,
) -> burn_vae::Result<Trained<Model<F, P>>>
where
    F: Family<Head: 'static>,
    P: Prior<MlpEncoder<F::Head>> + 'static,
    O: Objective<Model<F, P>> + 'static,
{
    let config = TrainConfig { epochs, batch_size: 30, ..TrainConfig::default() };
    let trainer = Trainer::new(config).with_progress(Progress::Silent).with_objective(objective);
    let trainer = trainer.with_optimizer(AdamConfig::new().init()).with_learning_rate(1e-2);
    let trainer = match dir {
        Some(dir) => trainer.with_checkpoints(dir, Existing::Resume),
        None => trainer,
    };
    let [train, valid] = digits();
    Ok(trainer.fit(model, train, valid)?)
}

fn weights(vae: &impl Module) -> Vec<Vec<f32>> {
    struct Visitor(Vec<Vec<f32>>);
    impl ModuleVisitor for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().try_to_vec().unwrap());
        }
    }
    let mut visitor = Visitor(Vec::new());
    vae.visit(&mut visitor);
    visitor.0
}

/// The temperature depends only on the step, so a resumed run has that of an uninterrupted one.
#[test]
fn schedules_go_on_where_they_were() {
    let falling = Temperature::exponential(1.0, 0.1, 0.3).unwrap().every(2).unwrap();
    let run = |temperature, epochs, dir: Option<&std::path::Path>| {
        let family = CategoricalFamily::new(3, temperature);
        let prior = CategoricalPriorConfig::new(3).with_logits([0.0; 6]).learned();
        let model = model(family, prior.relaxed(temperature), 6, 784);
        fit::<CategoricalFamily, _, _>(model, Iwae::default(), epochs, dir).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let whole = run(falling, 4, None);
    for epochs in [1, 3, 4] {
        let pieces = run(falling, epochs, Some(dir.path()));
        assert_eq!(pieces.history.epochs.len(), epochs);
        if epochs == 4 {
            assert!(weights(&pieces.model) == weights(&whole.model), "the weights differ");
        }
    }
    assert!(weights(&run(constant(1.0), 4, None).model) != weights(&whole.model));
}

/// The ratio of a density to a probability is undefined: such a training stops at its first batch.
/// Trainings with valid pairs run.
#[test]
fn combinations_without_a_meaning_stop() {
    let t = constant(0.5);
    let by_samples = Elbo::new(MonteCarloKl::default());
    let family = BernoulliFamily::new(t);
    let (exact, relaxed) = (BernoulliPriorConfig::new(), BernoulliPriorConfig::new().relaxed(t));
    let run = |family, prior: &BernoulliPriorConfig| {
        let model = model(family, prior.clone(), 5, 784);
        fit::<BernoulliFamily, _, _>(model, by_samples, 1, None).map(|_| ())
    };
    for (family, prior) in [(family, &exact), (family.straight_through(), &relaxed)] {
        let error = run(family, prior).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Training, "{error}");
        assert!(error.to_string().contains("inf"), "{error}");
    }
    run(family, &relaxed).unwrap();
    run(family.straight_through(), &exact).unwrap();
    for prior in [&exact, &relaxed] {
        let model = model(family, prior.clone(), 5, 784);
        fit::<BernoulliFamily, _, _>(model, Elbo::default(), 1, None).unwrap();
    }
}

#[test]
fn configurations_are_checked_and_kept() {
    let (seed, device) = (Seed::new(0), Device::flex());
    let falling = Temperature::exponential(1.0, 3e-5, 0.5).unwrap();
    let family = CategoricalFamily::new(10, falling).straight_through();
    let config = burn_vae::VaeConfig {
        encoder: MlpEncoderConfig::new(DATA, [5], 20).with_posterior(family),
        decoder: MlpDecoderConfig::new(20, [5], DATA),
        likelihood: BernoulliNll,
        prior: CategoricalPriorConfig::new(10).with_logits([0.1; 20]).learned().relaxed(falling),
    };
    let vae = config.init(seed, &device).unwrap();
    assert_eq!(vae.noise().dim(), 20);
    let dir = tempfile::tempdir().unwrap();
    saved::save(dir.path(), &config, &vae).unwrap();
    let (read, loaded) =
        saved::load::<burn_vae::VaeConfig<_, _, _, _>>(dir.path(), &device).unwrap();
    let _: &MlpEncoderConfig<CategoricalFamily> = &config.encoder;
    assert_eq!(config, read);
    assert_eq!(weights(&loaded), weights(&vae));
    let samples = vae.prior(Phase::Eval).sample(7, 20, seed, &device).into_data();
    assert_eq!(samples.iter::<f32>().sum::<f32>(), 14.0);

    let json = serde_json::to_string(&config.prior).unwrap();
    assert!(json.starts_with(r#"{"CategoricalPrior":{"#), "{json}");
    assert!(serde_json::from_str::<BernoulliPriorConfig>(&json).is_err());

    let init = |family: CategoricalFamily, latent_dim| {
        let config = MlpEncoderConfig::new(DATA, [], latent_dim).with_posterior(family);
        config.init(seed, &device).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(init(family, 25).contains("latent_dim is 25"));
    assert!(init(CategoricalFamily::new(1, falling), 25).contains("categories is 1"));
    assert!(init(CategoricalFamily::new(0, falling), 25).contains("categories is 0"));
    let refused = |prior: BernoulliPriorConfig| prior.init(seed, &device).unwrap_err().to_string();
    let bits = BernoulliPriorConfig::new;
    assert!(refused(bits().learned()).contains("no logits"));
    assert!(refused(bits().with_logits([])).contains("number of logits is 0"));
    assert!(refused(bits().with_logits([0.0, f32::NAN])).contains("logits[1] is NaN"));
    let odd = CategoricalPriorConfig::new(3).with_logits([0.0; 4]);
    let odd = odd.init(seed, &device).unwrap_err().to_string();
    assert!(odd.contains("the number of logits is 4, but it must be a multiple of categories"));
    // Without logits it has any length.
    for latent_dim in [1, 20] {
        let bound = bits().init(seed, &device).unwrap().bound(latent_dim, Phase::Eval, &device);
        assert_eq!(bound.distribution().dims(), [1, latent_dim]);
    }
}

/// The proposal's samples are real numbers, which are not discrete codes, so every weight would be
/// zero.
#[test]
fn a_fitted_gaussian_for_bits_is_refused() {
    let device = Device::flex();
    let family = BernoulliFamily::new(Temperature::constant(0.5).unwrap());
    let vae = Vae::new(
        MlpEncoderConfig::new(6, [4], 3)
            .with_posterior(family)
            .init(Seed::new(0), &device)
            .unwrap(),
        MlpDecoderConfig::new(3, [4], 6).init(Seed::new(1), &device).unwrap(),
        BernoulliNll,
        BernoulliPriorConfig::new().init(Seed::new(2), &device).unwrap(),
    )
    .unwrap();
    let table = Arc::new(Table::new(vec![1.0; 12], ["a", "b", "c", "d", "e", "f"]).unwrap());
    let sampling = ImportanceSampling::default().with_proposal(FittedGaussian::default());
    let error = log_likelihood(&vae, table, sampling, NoiseSource::new(0)).unwrap_err();
    assert!(error.to_string().contains("the codes of the model are Binary values"), "{error}");
}
