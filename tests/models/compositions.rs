//! Parts that do not go together are refused when a model is built, and say why.

use burn::tensor::{Device, Tensor};
use burn_vae::adversarial::{AdversarialVae, MlpDiscriminatorConfig};
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::flow::FlowsConfig;
use burn_vae::nn::Activation;
use burn_vae::presets::{self, StochasticLayer};
use burn_vae::{
    BernoulliFamily, BernoulliNll, BernoulliPriorConfig, CategoricalFamily, CategoricalPriorConfig,
    Diagonal, Divergence, Elbo, Encoder, Family, FlowPriorConfig, HierarchicalPriorConfig, Inputs,
    KlDivergence, MixturePriorConfig, MlpDecoderConfig, MlpEncoderConfig, ModuleConfig,
    NoiseSource, Objective, Prior, Seed, StandardNormal, Temperature, Transformed, VaeConfig,
    VampPriorConfig,
};

fn temperature() -> Temperature {
    Temperature::constant(0.5).unwrap()
}

/// The error of a model of 6 values and codes of length 4 with these parts.
fn error<F: Family, P: ModuleConfig<Module: Prior>>(posterior: F, prior: P) -> String {
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
        // Both would be whole numbers of groups.
        (error(pairs(), CategoricalPriorConfig::new(4)), "over codes of OneHot(4) values"),
        (error(pairs(), BernoulliPriorConfig::new()), "the encoder's are OneHot(2)"),
        (
            error(Transformed::new(FlowsConfig::planar(2)).with_base(bits()), StandardNormal),
            "flows map real numbers",
        ),
        (
            error(
                Diagonal,
                FlowPriorConfig::new(4, FlowsConfig::planar(2))
                    .with_base(BernoulliPriorConfig::new()),
            ),
            "flows map real numbers",
        ),
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

/// A prior within another one is asked as well.
#[test]
fn priors_inside_of_others_are_checked() {
    let vamp = |data_dim| VampPriorConfig::new(3, data_dim);
    let flows = || FlowPriorConfig::new(4, FlowsConfig::real_nvp(2, [5]));
    assert_eq!(error(Diagonal, flows().with_base(vamp(6))), "none");
    let found = error(Diagonal, flows().with_base(vamp(7)));
    assert!(found.contains("have 7 values, but the encoder takes 6"), "{found}");
    let found = error(Transformed::new(FlowsConfig::planar(2)), vamp(6));
    assert!(found.contains("mixture of diagonal Gaussian posteriors"), "{found}");

    let device = Device::flex();
    let layers = [StochasticLayer::new([5], 4), StochasticLayer::new([], 2)];
    let deep = presets::deep_latent_gaussian(6, &layers, Activation::Tanh);
    let prior = HierarchicalPriorConfig { layers: deep.prior.layers.clone(), top: vamp(6) };
    let VaeConfig { encoder, decoder, likelihood, .. } = deep.clone();
    let config = VaeConfig { encoder, decoder, likelihood, prior };
    let found = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(found.contains("mixture of diagonal Gaussian posteriors"), "{found}");

    // A decoder that would read into the second layer.
    let mut config = deep;
    config.decoder.network = MlpDecoderConfig::new(5, [5], 6);
    let found = config.init(Seed::new(0), &device).unwrap_err().to_string();
    assert!(found.contains("reads the first 5 numbers") && found.contains("[4, 2]"), "{found}");
}

#[test]
fn conditional_models_do_not_take_a_discriminator() {
    let device = Device::flex();
    let vae = ConditionalVaeConfig::mlp(6, 2, [5], 3).init(Seed::new(0), &device).unwrap();
    assert_eq!(vae.encoder.condition_dim(), 2);
    let discriminator = MlpDiscriminatorConfig::new(8, 5, [4]).init(Seed::new(0), &device).unwrap();
    let found = AdversarialVae::new(vae, discriminator).unwrap_err().to_string();
    assert!(found.contains("the model is conditional"), "{found}");
}

/// Free bits of a categorical code count variable by variable: `max(free, KL of the variable)`.
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
    let q = vae.encoder.encode(x.clone().mul_scalar(3.0));
    let shares = Divergence::per_dimension(&KlDivergence, &q, &vae.prior).unwrap();
    let shares = shares.mean_dim(0).into_data().iter::<f64>().collect::<Vec<_>>();
    assert!(shares.iter().any(|share| *share < 0.0), "{shares:?}");
    let variables = shares.chunks_exact(4).map(|s| s.iter().sum::<f64>()).collect::<Vec<_>>();
    let free = 0.5 * (variables[0] + variables[1]);
    let expected = variables.iter().map(|kl| kl.max(free)).sum::<f64>();

    use burn_vae::LatentVariableModel;
    let eps = NoiseSource::new(3).draw_for(0, 1, 7, &vae.noise(), &device);
    let inputs = Inputs::new(x.mul_scalar(3.0), eps).at(0, Seed::new(0));
    let mean = |x: Tensor<1>| f64::from(x.mean().into_scalar::<f32>());
    let terms = Elbo::default().with_free_bits(free).unwrap().terms(&vae, inputs);
    let counted = mean(terms.loss.clone()) - mean(terms.nll.clone());
    assert!((counted - expected).abs() < 1e-5, "{counted} is not {expected}");
    assert!((mean(terms.divergence) - variables.iter().sum::<f64>()).abs() < 1e-5);
}
