//! Cost of each component, value and gradient, on the CPU, with everything else in the model small.
//!
//! ```sh
//! cargo bench --bench components
//! ```
//!
//! A likelihood gets the parameters of 100 images of 784 values. Posteriors, priors and objectives
//! are those of a model with 100 codes of 50 dimensions, with one layer from 50 values to the codes
//! and one back.

use std::hint::black_box;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use burn_vae::adversarial::AdversarialVaeConfig;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::{
    ChiDivergence, Kernel, Mmd, MonteCarloKl, MonteCarloRenyi, RenyiDivergence,
};
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::flow::FlowsConfig;
use burn_vae::likelihood::{
    CategoricalNll, ContinuousBernoulliNll, DiscretizedLogisticMixtureNll, DiscretizedLogisticNll,
    GaussianNllConfig, LaplaceNllConfig, NegativeBinomialNllConfig, PoissonNll, ScaleConfig,
    StudentTNllConfig,
};
use burn_vae::objective::{AdversarialElbo, Ciwae, Cubo, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::posterior::{
    BernoulliFamily, CategoricalFamily, Diagonal, FullCovariance, Temperature, Transformed,
};
use burn_vae::prior::{
    BernoulliPriorConfig, CategoricalPriorConfig, FlowPriorConfig, GaussianPriorConfig,
    MixturePriorConfig, StandardNormal, VampPriorConfig,
};
use burn_vae::{
    BernoulliNll, Elbo, Inputs, KlDivergence, Likelihood, Model, ModuleConfig, NoiseSource,
    Objective, Seed, VaeConfig,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 100;
const VALUES: usize = 784;
const DIM: usize = 50;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    group
}

fn likelihoods(criterion: &mut Criterion) {
    let group = &mut group(criterion, "likelihood");
    let fixed = || ScaleConfig::learned(0.7);
    let (levels, classes) = (256, 4);
    likelihood(group, "Bernoulli", BernoulliNll, VALUES);
    likelihood(group, "continuous Bernoulli", ContinuousBernoulliNll, VALUES);
    likelihood(group, "Gaussian", of(GaussianNllConfig::new(fixed())), VALUES);
    likelihood(group, "Laplace", of(LaplaceNllConfig::new(fixed())), VALUES);
    likelihood(group, "Student t", of(StudentTNllConfig::new(fixed(), 4.0)), VALUES);
    likelihood(group, "categorical", CategoricalNll::new(classes).unwrap(), VALUES);
    let logistic = DiscretizedLogisticNll::new(levels).unwrap();
    likelihood(group, "discretised logistic", logistic, 2 * VALUES);
    let mixture = DiscretizedLogisticMixtureNll::new(levels, 5).unwrap();
    likelihood(group, "five discretised logistics", mixture, 15 * VALUES);
    likelihood(group, "Poisson", PoissonNll, VALUES);
    likelihood(group, "negative binomial", of(NegativeBinomialNllConfig::new(fixed())), VALUES);
}

fn of<C: ModuleConfig>(config: C) -> C::Module {
    config.init(Seed::new(0), &Device::flex()).unwrap()
}

fn likelihood<L: Likelihood>(group: &mut Group, name: &str, likelihood: L, params: usize) {
    let device = Device::flex().autodiff();
    let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let params = random([BATCH, params]).unsqueeze_dim::<3>(0);
    // Every likelihood accepts zeros and ones.
    let x = random([BATCH, VALUES]).greater_elem(0.0).float();
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let nll = likelihood.nll(params.clone().require_grad(), x.clone());
            black_box(nll.mean().backward())
        });
    });
}

fn posteriors(criterion: &mut Criterion) {
    let group = &mut group(criterion, "posterior");
    let (elbo, sampled) = (Elbo::default(), Elbo::new(MonteCarloKl::default()));
    let flow = |flows: FlowsConfig| with(Transformed::new(flows), StandardNormal);
    let temperature = Temperature::constant(0.6).unwrap();
    let bits = BernoulliFamily::new(temperature);
    let variables = CategoricalFamily::new(10, temperature);
    let bits_prior = BernoulliPriorConfig::new().relaxed(temperature);
    let variables_prior = CategoricalPriorConfig::new(10).relaxed(temperature);
    let hidden = [2 * DIM];
    step(group, "diagonal Gaussian", with(Diagonal, StandardNormal), elbo, 1);
    step(group, "full covariance", with(FullCovariance, StandardNormal), elbo, 1);
    step(group, "4 planar flows", flow(FlowsConfig::planar(4)), sampled, 1);
    step(group, "4 radial flows", flow(FlowsConfig::radial(4)), sampled, 1);
    let iaf = flow(FlowsConfig::inverse_autoregressive(2, hidden));
    step(group, "2 inverse autoregressive flows", iaf, sampled, 1);
    step(group, "4 of real NVP", flow(FlowsConfig::real_nvp(4, hidden)), sampled, 1);
    step(group, "relaxed bits", with(bits, bits_prior), sampled, 1);
    step(group, "relaxed categories", with(variables, variables_prior), sampled, 1);
    let implicit = AdversarialVaeConfig::mlp(DIM, hidden, DIM);
    step(group, "implicit", implicit, AdversarialElbo::default(), 1);
}

fn priors(criterion: &mut Criterion) {
    let group = &mut group(criterion, "prior");
    let sampled = Elbo::new(MonteCarloKl::default());
    let gaussian = GaussianPriorConfig::new([0.5; DIM], [-0.3; DIM]).learned();
    let flow = FlowPriorConfig::new(DIM, FlowsConfig::real_nvp(4, [2 * DIM]));
    step(group, "standard normal", with(Diagonal, StandardNormal), sampled, 1);
    step(group, "Gaussian", with(Diagonal, gaussian), sampled, 1);
    step(group, "mixture of 100", with(Diagonal, MixturePriorConfig::new(100, DIM)), sampled, 1);
    step(group, "VampPrior of 100", with(Diagonal, VampPriorConfig::new(100, DIM)), sampled, 1);
    step(group, "real NVP", with(Diagonal, flow), sampled, 1);
}

fn objectives(criterion: &mut Criterion) {
    fn of(
        group: &mut Group,
        name: &str,
        objective: impl Objective<<Config as ModuleConfig>::Module>,
        samples: usize,
    ) {
        step(group, name, with(Diagonal, StandardNormal), objective, samples);
    }
    let group = &mut group(criterion, "objective");
    let iwae = Iwae::default();
    let mmd = Mmd::new(Kernel::gaussian(1.0).unwrap());
    of(group, "ELBO, KL", Elbo::new(KlDivergence), 1);
    of(group, "ELBO, Monte Carlo KL", Elbo::new(MonteCarloKl::default()), 1);
    of(group, "ELBO, Renyi", Elbo::new(RenyiDivergence::new(0.5).unwrap()), 1);
    of(group, "ELBO, Renyi from 10 samples", Elbo::new(MonteCarloRenyi::new(0.5).unwrap()), 10);
    of(group, "ELBO, chi", Elbo::new(ChiDivergence::new(1.5).unwrap()), 1);
    of(group, "ELBO, MMD", Elbo::new(mmd), 1);
    of(group, "IWAE, K=10", iwae, 10);
    let doubly = iwae.with_gradient(Gradient::DoublyReparameterized);
    of(group, "IWAE, doubly reparameterised, K=10", doubly, 10);
    let sticking = iwae.with_gradient(Gradient::StickingTheLanding);
    of(group, "IWAE, sticking the landing, K=10", sticking, 10);
    of(group, "MIWAE, 2 of 5", Miwae::new(2).unwrap(), 10);
    of(group, "PIWAE, 2 of 5", Piwae::new(2).unwrap(), 10);
    of(group, "CIWAE, K=10", Ciwae::new(0.5).unwrap(), 10);
    of(group, "Renyi bound, K=10", RenyiBound::new(0.5).unwrap(), 10);
    of(group, "CUBO, K=10", Cubo::new(2.0).unwrap(), 10);
}

type Config<G = Diagonal, P = StandardNormal> =
    VaeConfig<MlpEncoderConfig<G>, MlpDecoderConfig, BernoulliNll, P>;

fn with<G, P>(posterior: G, prior: P) -> Config<G, P> {
    VaeConfig {
        encoder: MlpEncoderConfig::new(DIM, [], DIM).with_posterior(posterior),
        decoder: MlpDecoderConfig::new(DIM, [], DIM),
        likelihood: BernoulliNll,
        prior,
    }
}

/// Computes an objective's terms and the gradients of all parameters.
fn step<C, O>(group: &mut Group, name: &str, config: C, objective: O, samples: usize)
where
    C: ModuleConfig<Module: Model>,
    O: Objective<C::Module>,
{
    let model = config.init(Seed::new(0), &Device::flex()).unwrap().train();
    let device = Device::flex().autodiff();
    let x = Tensor::random([BATCH, DIM], Distribution::Bernoulli(0.5), &device);
    let source = NoiseSource::new(Seed::new(0));
    let noise = source.draw_for(0, samples, BATCH, &model.noise(), &device);
    let state = objective.initial_state();
    let state = state.map(|state| Tensor::from_data(state.as_slice(), &device));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let inputs = Inputs::new(x.clone(), noise.clone()).with_state(state.clone());
            black_box(objective.terms(&model, inputs).mean().backward())
        });
    });
}

criterion_group!(benches, likelihoods, posteriors, priors, objectives);
criterion_main!(benches);
