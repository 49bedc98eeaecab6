//! Incompatible parts are refused, with a reason, when a model is built.

use burn::tensor::{Device, Tensor};
use burn_vae::adversarial::{
    AdversarialVaeConfig, DensityRatio, Discriminator, MlpDiscriminatorConfig,
};
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::encoder::{MlpEncoder, MlpEncoderConfig};
use burn_vae::flow::FlowsConfig;
use burn_vae::nn::Activation;
use burn_vae::objective::AdversarialElbo;
use burn_vae::posterior::{
    BernoulliFamily, CategoricalFamily, Diagonal, Family, Implicit, Temperature, Transformed,
};
use burn_vae::presets::{self, StochasticLayer};
use burn_vae::prior::{
    BernoulliPriorConfig, CategoricalPriorConfig, FlowPriorConfig, GaussianPriorConfig,
    HierarchicalPriorConfig, MixturePriorConfig, StandardNormal, VampPriorConfig,
};
use burn_vae::{
    BernoulliNll, Divergence, Elbo, Encoder, Inputs, KlDivergence, Model, ModuleConfig,
    NoiseSource, Objective, Phase, Posterior, Prior, Seed, VaeConfig,
};

fn temperature() -> Temperature {
    Temperature::constant(0.5).unwrap()
}

/// The error of a model with 6 values and codes of length 4 made of these parts.
fn error<F, P>(posterior: F, prior: P) -> String
where
    F: Family,
    P: ModuleConfig<Module: Prior<MlpEncoder<F::Head>>>,
{
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(6, [5], 4).with_posterior(posterior),
        decoder: MlpDecoderConfig::new(4, [5], 6),
        likelihood: BernoulliNll,
        prior,
    };
    match config.init(Seed::new(0), &Device::flex()) {
        Ok(_) => "none".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn codes_and_priors_of_different_kinds_are_refused() {
    let bits = || BernoulliFamily::new(temperature());
    let pairs = || CategoricalFamily::new(2, temperature());
    assert_eq!(error(bits(), BernoulliPriorConfig::new()), "none");
    assert_eq!(error(pairs(), CategoricalPriorConfig::new(2)), "none");
    let real = "over codes of Real values";
    for (found, expected) in [
        (error(bits(), StandardNormal), real),
        (error(pairs(), MixturePriorConfig::new(3, 4)), real),
        (error(Diagonal, BernoulliPriorConfig::new()), "over codes of Binary values"),
        // The code length is a multiple of both group sizes.
        (error(pairs(), CategoricalPriorConfig::new(4)), "over codes of OneHot(4) values"),
        (error(pairs(), BernoulliPriorConfig::new()), "the encoder's are OneHot(2)"),
        (
            error(Transformed::new(FlowsConfig::planar(2)).with_base(bits()), StandardNormal),
            "flows need a base over Real codes",
        ),
        (
            error(
                Diagonal,
                FlowPriorConfig::new(4, FlowsConfig::planar(2))
                    .with_base(BernoulliPriorConfig::new()),
            ),
            "flows need a base over Real codes",
        ),
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

/// A prior within another one is checked too.
#[test]
fn priors_inside_of_others_are_checked() {
    let vamp = |data_dim| VampPriorConfig::new(3, data_dim);
    let flows = || FlowPriorConfig::new(4, FlowsConfig::real_nvp(2, [5]));
    assert_eq!(error(Diagonal, flows().with_base(vamp(6))), "none");
    let found = error(Diagonal, flows().with_base(vamp(7)));
    assert!(found.contains("have 7 values, but the encoder takes 6"), "{found}");
    let found = error(Diagonal, FlowPriorConfig::new(3, FlowsConfig::planar(2)).with_base(vamp(6)));
    assert!(found.contains("codes of length 3, but their base over codes of length 4"), "{found}");
    // A mixture accepts any posteriors with densities.
    assert_eq!(error(Transformed::new(FlowsConfig::planar(2)), vamp(6)), "none");
    assert_eq!(error(BernoulliFamily::new(temperature()), vamp(6)), "none");

    let device = Device::flex();
    let layers = [StochasticLayer::new([5], 4), StochasticLayer::new([], 2)];
    let deep = presets::deep_latent_gaussian(6, &layers, Activation::Tanh);
    type DeepConfig = presets::HierarchicalVaeConfig<Diagonal, BernoulliNll, StandardNormal>;
    fn with_top<P>(deep: &DeepConfig, top: P) -> String
    where
        P: ModuleConfig<Module: Prior<MlpEncoder>>,
    {
        let VaeConfig { encoder, decoder, likelihood, prior } = deep.clone();
        let prior = HierarchicalPriorConfig { layers: prior.layers, top };
        let config = VaeConfig { encoder, decoder, likelihood, prior };
        match config.init(Seed::new(0), &Device::flex()) {
            Ok(_) => "none".into(),
            Err(error) => error.to_string(),
        }
    }
    // The pseudo-inputs of a top prior are inputs of the encoder's top layer: codes of the first
    // layer.
    assert_eq!(with_top(&deep, vamp(4)), "none");
    let found = with_top(&deep, vamp(6));
    assert!(found.contains("have 6 values, but the encoder takes 4"), "{found}");
    let found = with_top(&deep, GaussianPriorConfig::new([0.0; 3], [0.0; 3]));
    assert!(found.contains("at the top is over codes of length 3"), "{found}");
    assert!(found.contains("the layer below it takes 2"), "{found}");
    let found = with_top(&deep, BernoulliPriorConfig::new());
    assert!(found.contains("layers[0] has Real codes"), "{found}");

    // A decoder that would read values of the second layer.
    let mut config = deep;
    config.decoder.network = MlpDecoderConfig::new(5, [5], 6);
    let found = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(found.contains("reads the first 5 values") && found.contains("[4, 2]"), "{found}");
}

/// The discriminator beside a conditional model gets examples with their conditions, and codes
/// without.
#[test]
fn conditional_models_take_a_discriminator() {
    let device = Device::flex();
    let ConditionalVaeConfig { encoder, decoder, likelihood, prior, condition_dim } =
        ConditionalVaeConfig::mlp(6, 2, [5], 3);
    let encoder = encoder.with_posterior(Implicit::new([4]).with_noise_dim(7));
    let vae = ConditionalVaeConfig { encoder, decoder, likelihood, prior, condition_dim };
    let discriminator = MlpDiscriminatorConfig::new(8, 3, [4]);
    let config = AdversarialVaeConfig { vae, discriminator };
    let model = config.init(Seed::new(0), &device).unwrap();
    assert_eq!((model.data_dim(), model.latent_dim(), model.num_values()), (8, 3, 6));
    assert_eq!(model.noise().dim(), 7);

    let rows = NoiseSource::new(1).draw(0, [1, 5, 8], &device).squeeze_dim::<2>(0);
    let rows = rows.greater_elem(0.0).float();
    let noise = NoiseSource::new(2).draw_for(0, 3, 5, &model.noise(), &device);
    let terms = AdversarialElbo::default().terms(&model, Inputs::new(rows.clone(), noise.clone()));
    let z = model.vae.encode(rows.clone()).unwrap().rsample(noise);
    let list = |x: Tensor<1>| x.into_data().iter::<f64>().collect::<Vec<_>>();
    let logits = model.discriminator.logits(rows.clone(), z.clone());
    assert_eq!(list(terms.divergence), list(DensityRatio.kl(logits)));
    let nll = model.vae.nll(z, rows).mean_dim(0).squeeze_dim(0);
    for (found, expected) in list(terms.distortion).into_iter().zip(list(nll)) {
        assert!((found - expected).abs() < 1e-5 * expected, "{found} is not {expected}");
    }

    for (data_dim, latent_dim, text) in
        [(6, 3, "examples of length 6"), (8, 5, "codes of length 5")]
    {
        let discriminator = MlpDiscriminatorConfig::new(data_dim, latent_dim, [4]);
        let config = AdversarialVaeConfig { discriminator, ..config.clone() };
        let found = config.init(Seed::new(0), &device).unwrap_err().to_string();
        assert!(found.contains(text), "{found}");
    }
}

/// Free bits of a categorical code apply per variable: `max(free, KL of the variable)`.
#[test]
fn free_bits_of_categories_count_by_variable() {
    let device = Device::flex();
    let config = VaeConfig {
        encoder: MlpEncoderConfig::new(6, [5], 8)
            .with_posterior(CategoricalFamily::new(4, temperature())),
        decoder: MlpDecoderConfig::new(8, [5], 6),
        likelihood: BernoulliNll,
        prior: CategoricalPriorConfig::new(4),
    };
    let vae = config.init(Seed::new(1), &device).unwrap();
    let x = NoiseSource::new(2).draw(0, [1, 7, 6], &device).squeeze_dim::<2>(0);
    let eps = NoiseSource::new(3).draw_for(0, 1, 7, &vae.noise(), &device);
    let q = vae.encoder.encode(x.clone().mul_scalar(3.0), Phase::Eval);
    let samples = q.draw(eps.clone(), Seed::new(0));
    let shares = KlDivergence.terms(&q, &vae.prior(Phase::Eval), &samples).shares().unwrap();
    assert_eq!(shares.by_variable().dims(), [7, 2]);
    let shares = shares.by_dimension.mean_dim(0).into_data().iter::<f64>().collect::<Vec<_>>();
    assert!(shares.iter().any(|share| *share < 0.0), "{shares:?}");
    let variables = shares.chunks_exact(4).map(|s| s.iter().sum::<f64>()).collect::<Vec<_>>();
    let free = 0.5 * (variables[0] + variables[1]);
    let expected = variables.iter().map(|kl| kl.max(free)).sum::<f64>();

    let inputs = Inputs::new(x.mul_scalar(3.0), eps).at(0, Seed::new(0));
    let mean = |x: Tensor<1>| f64::from(x.mean().into_scalar::<f32>());
    let terms = Elbo::default().with_free_bits(free).unwrap().terms(&vae, inputs);
    let counted = mean(terms.loss.clone()) - mean(terms.distortion.clone());
    assert!((counted - expected).abs() < 1e-5, "{counted} is not {expected}");
    assert!((mean(terms.divergence) - variables.iter().sum::<f64>()).abs() < 1e-5);
}
