//! Every component in a model, with the gradients of the loss for all trained parameters.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::adversarial::AdversarialVaeConfig;
use burn_vae::conditional::ConditionalVaeConfig;
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
use burn_vae::nn::{Activation, ConvConfig};
use burn_vae::objective::{AdversarialElbo, Ciwae, Cubo, Gradient, Iwae, Miwae, Piwae, RenyiBound};
use burn_vae::posterior::{
    BernoulliFamily, CategoricalFamily, Diagonal, FullCovariance, Temperature, Transformed,
};
use burn_vae::presets::{
    StochasticLayer, deep_latent_gaussian, nonlinear_gaussian_belief_network,
    sigmoid_belief_network,
};
use burn_vae::prior::{
    BernoulliPriorConfig, CategoricalPriorConfig, FlowPriorConfig, GaussianPriorConfig,
    MixturePriorConfig, StandardNormal, VampPriorConfig,
};
use burn_vae::{
    BernoulliNll, ConvVaeConfig, Elbo, Inputs, KlDivergence, MlpVaeConfig, Model, ModuleConfig,
    NoiseSource, Objective, Seed, VaeConfig,
};

use super::Case;
use super::found::Found;

const BATCH: usize = 5;
const DIM: usize = 12;
const LATENT: usize = 4;

/// The kind of values in the examples.
#[derive(Clone, Copy)]
enum Data {
    Bits,
    Unit,
    Real,
    Counts,
    Levels(u32),
    OneHot(usize),
}

impl Data {
    fn tensor(self, dim: usize, device: &Device) -> Tensor<2> {
        let number = |i: usize| (i as f32 * 0.618_034 + 0.1).fract();
        let values = (0..BATCH * dim).map(|i| {
            let u = number(i);
            match self {
                Self::Bits => f32::from(u < 0.4),
                Self::Unit => u,
                Self::Real => 4.0 * u - 2.0,
                Self::Counts => (u * 9.0).floor(),
                Self::Levels(levels) => (u * (levels - 1) as f32).round() / (levels - 1) as f32,
                Self::OneHot(classes) => {
                    let class = (number(i / classes) * classes as f32) as usize;
                    f32::from(class == i % classes)
                }
            }
        });
        let data = TensorData::new::<f32, _>(values.collect(), [BATCH, dim]);
        Tensor::from_data(data, device)
    }
}

/// Returns the terms of an objective for each example and the gradients of the mean loss.
fn case<C, O>(name: &'static str, config: C, objective: O, samples: usize, data: Data) -> Case
where
    C: ModuleConfig<Module: Model> + 'static,
    O: Objective<C::Module> + 'static,
{
    Case::new(name, move |device| {
        let seed = Seed::new(11);
        let model = config.init(seed, device).unwrap().train();
        let device = model.devices().first().cloned().unwrap_or_else(|| device.clone());
        let x = data.tensor(model.data_dim(), &device);
        let source = NoiseSource::new(seed.child("noise"));
        let noise = source.draw_for(0, samples, BATCH, &model.noise(), &device);
        let inputs = Inputs::new(x, noise).at(7, seed.child("step"));
        let state = objective.initial_state();
        let state = state.map(|state| Tensor::from_data(state.as_slice(), &device));
        let terms = objective.terms(&model, inputs.with_state(state));
        let mut found = vec![
            Found::value("nelbo", terms.nelbo.clone()),
            Found::value("nll", terms.distortion.clone()),
            Found::value("divergence", terms.divergence.clone()),
            Found::value("loss", terms.loss.clone()),
        ];
        let gradients = GradientsParams::from_grads(terms.mean().backward(), &model);
        found.extend(Found::gradients(&model, &gradients));
        found
    })
}

fn with<G, L, P>(
    posterior: G,
    likelihood: L,
    params_per_value: usize,
    prior: P,
) -> VaeConfig<MlpEncoderConfig<G>, MlpDecoderConfig, L, P> {
    VaeConfig {
        encoder: MlpEncoderConfig::new(DIM, [9], LATENT).with_posterior(posterior),
        decoder: MlpDecoderConfig::new(LATENT, [9], params_per_value * DIM),
        likelihood,
        prior,
    }
}

pub fn cases() -> Vec<Case> {
    [likelihoods(), posteriors(), priors(), objectives(), models()].into_iter().flatten().collect()
}

fn likelihoods() -> Vec<Case> {
    let elbo = Elbo::default();
    let learned = || ScaleConfig::learned(0.7);
    let predicted = || ScaleConfig::predicted().with_floor(0.05);
    let per_value = ScaleConfig::learned_per_value(0.7, DIM);
    vec![
        case("Bernoulli", with(Diagonal, BernoulliNll, 1, StandardNormal), elbo, 2, Data::Unit),
        case(
            "continuous Bernoulli",
            with(Diagonal, ContinuousBernoulliNll, 1, StandardNormal),
            elbo,
            2,
            Data::Unit,
        ),
        case(
            "Gaussian",
            with(Diagonal, GaussianNllConfig::new(per_value), 1, StandardNormal),
            elbo,
            2,
            Data::Real,
        ),
        case(
            "Laplace",
            with(Diagonal, LaplaceNllConfig::new(predicted()), 2, StandardNormal),
            elbo,
            2,
            Data::Real,
        ),
        case(
            "Student t",
            with(Diagonal, StudentTNllConfig::new(learned(), 4.0), 1, StandardNormal),
            elbo,
            2,
            Data::Real,
        ),
        case(
            "categorical",
            with(Diagonal, CategoricalNll::new(3).unwrap(), 1, StandardNormal),
            elbo,
            2,
            Data::OneHot(3),
        ),
        case(
            "discretised logistic",
            with(Diagonal, DiscretizedLogisticNll::new(256).unwrap(), 2, StandardNormal),
            elbo,
            2,
            Data::Levels(256),
        ),
        case(
            "mixture of discretised logistics",
            with(Diagonal, DiscretizedLogisticMixtureNll::new(256, 3).unwrap(), 9, StandardNormal),
            elbo,
            2,
            Data::Levels(256),
        ),
        case("Poisson", with(Diagonal, PoissonNll, 1, StandardNormal), elbo, 2, Data::Counts),
        case(
            "negative binomial",
            with(Diagonal, NegativeBinomialNllConfig::new(learned()), 1, StandardNormal),
            elbo,
            2,
            Data::Counts,
        ),
    ]
}

fn posteriors() -> Vec<Case> {
    let flow = |flows: FlowsConfig| {
        let posterior = Transformed::new(flows);
        with(posterior, BernoulliNll, 1, StandardNormal)
    };
    let monte_carlo = Elbo::new(MonteCarloKl::default());
    let temperature = Temperature::constant(0.6).unwrap();
    let bits = BernoulliFamily::new(temperature);
    let variables = CategoricalFamily::new(2, temperature);
    vec![
        case(
            "full covariance",
            with(FullCovariance, BernoulliNll, 1, StandardNormal),
            Elbo::default(),
            2,
            Data::Bits,
        ),
        case("planar flow", flow(FlowsConfig::planar(2)), monte_carlo, 2, Data::Bits),
        case("radial flow", flow(FlowsConfig::radial(2)), monte_carlo, 2, Data::Bits),
        case(
            "inverse autoregressive flow",
            flow(FlowsConfig::inverse_autoregressive(2, [8])),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case("real NVP", flow(FlowsConfig::real_nvp(2, [8])), monte_carlo, 2, Data::Bits),
        case(
            "relaxed bits",
            with(bits, BernoulliNll, 1, BernoulliPriorConfig::new().relaxed(temperature)),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case(
            "straight-through bits",
            with(bits.straight_through(), BernoulliNll, 1, BernoulliPriorConfig::new()),
            Elbo::default(),
            2,
            Data::Bits,
        ),
        case(
            "relaxed categories",
            with(variables, BernoulliNll, 1, CategoricalPriorConfig::new(2).relaxed(temperature)),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case(
            "implicit, by a density ratio",
            AdversarialVaeConfig::mlp(DIM, [9], LATENT),
            AdversarialElbo::default(),
            2,
            Data::Bits,
        ),
        case(
            "implicit, with adaptive contrast",
            AdversarialVaeConfig::mlp(DIM, [9], LATENT),
            AdversarialElbo::default().with_adaptive_contrast(8).unwrap(),
            2,
            Data::Bits,
        ),
    ]
}

fn priors() -> Vec<Case> {
    let monte_carlo = Elbo::new(MonteCarloKl::default());
    let gaussian = GaussianPriorConfig::new([0.5; LATENT], [-0.3; LATENT]).learned();
    vec![
        case(
            "Gaussian prior",
            with(Diagonal, BernoulliNll, 1, gaussian),
            Elbo::default(),
            2,
            Data::Bits,
        ),
        case(
            "mixture prior",
            with(Diagonal, BernoulliNll, 1, MixturePriorConfig::new(3, LATENT)),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case(
            "VampPrior",
            with(Diagonal, BernoulliNll, 1, VampPriorConfig::new(3, DIM)),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case(
            "flow prior",
            with(
                Diagonal,
                BernoulliNll,
                1,
                FlowPriorConfig::new(LATENT, FlowsConfig::real_nvp(2, [8])),
            ),
            monte_carlo,
            2,
            Data::Bits,
        ),
    ]
}

fn objectives() -> Vec<Case> {
    fn of(
        name: &'static str,
        objective: impl Objective<burn_vae::MlpVae> + 'static,
        samples: usize,
    ) -> Case {
        case(name, MlpVaeConfig::mlp(DIM, [9], LATENT), objective, samples, Data::Bits)
    }
    let iwae = Iwae::default();
    let sticking = MonteCarloKl::default().sticking_the_landing();
    let mmd = Mmd::new(Kernel::gaussian(1.0).unwrap());
    vec![
        of("free bits", Elbo::default().with_free_bits(0.2).unwrap(), 1),
        of("KL divergence", Elbo::new(KlDivergence), 3),
        of("Monte Carlo KL, sticking the landing", Elbo::new(sticking), 3),
        of("Renyi divergence", Elbo::new(RenyiDivergence::new(0.5).unwrap()), 1),
        of("Renyi divergence from samples", Elbo::new(MonteCarloRenyi::new(0.5).unwrap()), 3),
        // The order is low enough to keep every posterior away from an infinite divergence.
        of("chi divergence", Elbo::new(ChiDivergence::new(1.1).unwrap()), 1),
        of("MMD", Elbo::new(mmd), 2),
        of("IWAE", iwae, 5),
        of("IWAE, doubly reparameterised", iwae.with_gradient(Gradient::DoublyReparameterized), 5),
        of("IWAE, sticking the landing", iwae.with_gradient(Gradient::StickingTheLanding), 5),
        of("MIWAE", Miwae::new(2).unwrap(), 6),
        of("PIWAE", Piwae::new(2).unwrap(), 6),
        of("CIWAE", Ciwae::new(0.3).unwrap(), 5),
        of("Renyi bound", RenyiBound::new(0.5).unwrap(), 5),
        of("CUBO", Cubo::new(2.0).unwrap(), 5),
    ]
}

fn models() -> Vec<Case> {
    let conv = |network: ConvConfig| ConvVaeConfig::conv(network);
    let plain = ConvConfig::new([9, 7, 2], [3, 4], LATENT);
    let normalized = ConvConfig { dense: Some(6), ..ConvConfig::batch_norm([8, 8, 1], LATENT) };
    let layers = [StochasticLayer::new([8], 5), StochasticLayer::new([6], 3)];
    let monte_carlo = Elbo::new(MonteCarloKl::default());
    let temperature = Temperature::constant(0.6).unwrap();
    vec![
        case("convolutions", conv(plain), Elbo::default(), 2, Data::Unit),
        case(
            "convolutions and batch normalisation",
            conv(normalized),
            Elbo::default(),
            2,
            Data::Unit,
        ),
        case(
            "two stochastic layers",
            deep_latent_gaussian(DIM, &layers, Activation::Tanh),
            Iwae::default(),
            4,
            Data::Bits,
        ),
        case(
            "non-linear Gaussian belief network",
            nonlinear_gaussian_belief_network(
                DIM,
                &layers,
                Activation::Relu,
                ScaleConfig::learned(0.5),
            ),
            monte_carlo,
            2,
            Data::Real,
        ),
        case(
            "sigmoid belief network",
            sigmoid_belief_network(DIM, &[5, 3], temperature),
            monte_carlo,
            2,
            Data::Bits,
        ),
        case(
            "conditional",
            ConditionalVaeConfig::mlp(DIM, 3, [9], LATENT),
            Elbo::default(),
            2,
            Data::Unit,
        ),
    ]
}
