//! Configurations that cannot be built, incompatible parts, tensors of the wrong shape.

use burn::tensor::{Device, Tensor};
use burn_vae::ErrorKind::{Backend, Config, Shape, Value};
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::decoder::MlpDecoderConfig;
use burn_vae::divergence::{Kernel, RenyiDivergence};
use burn_vae::encoder::MlpEncoderConfig;
use burn_vae::eval::FittedGaussian;
use burn_vae::flow::FlowsConfig;
use burn_vae::likelihood::{
    CategoricalNll, DiscretizedLogisticMixtureNll, DiscretizedLogisticNll, GaussianNllConfig,
    Scale, ScaleConfig, StudentTNllConfig,
};
use burn_vae::nn::{ConvConfig, Normalization};
use burn_vae::objective::{AdversarialElbo, Beta, Ciwae, Cubo, Miwae, Piwae, RenyiBound, TargetKl};
use burn_vae::optim::{Adam, RmsProp};
use burn_vae::posterior::{Diagonal, FullCovariance, Implicit, Temperature, Transformed};
use burn_vae::prior::{FlowPriorConfig, GaussianPriorConfig, MixturePriorConfig, VampPriorConfig};
use burn_vae::{
    ConvVaeConfig, Elbo, MlpVae, MlpVaeConfig, ModuleConfig, NoiseSource, Seed, VaeConfig, backend,
};

use super::{Row, row};

/// A configuration that cannot be built.
fn built<C: ModuleConfig + 'static>(what: &'static str, message: &'static str, config: C) -> Row {
    row(what, Config, message, move || config.init(Seed::new(0), &Device::flex()))
}

/// The configuration of a small model with a different likelihood or prior.
fn with<L, P>(likelihood: L, prior: P) -> VaeConfig<MlpEncoderConfig, MlpDecoderConfig, L, P> {
    let MlpVaeConfig { encoder, decoder, .. } = MlpVaeConfig::mlp(6, [4], 2);
    VaeConfig { encoder, decoder, likelihood, prior }
}

fn conv(change: fn(&mut ConvConfig)) -> ConvVaeConfig {
    let mut config = ConvConfig::new([28, 28, 1], [4, 8], 2);
    change(&mut config);
    ConvVaeConfig::conv(config)
}

pub(super) fn model() -> MlpVae {
    MlpVaeConfig::mlp(6, [4], 2).init(Seed::new(0), &Device::flex()).unwrap()
}

pub(super) fn rows() -> Vec<Row> {
    let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &Device::flex());
    let mismatched = |change: fn(&mut MlpVaeConfig)| {
        let mut config = MlpVaeConfig::mlp(6, [4], 2);
        change(&mut config);
        config
    };
    let flows = |flows: FlowsConfig| {
        let mut config = MlpVaeConfig::mlp(6, [4], 2);
        let MlpVaeConfig { decoder, likelihood, prior, .. } = config.clone();
        config.encoder.hidden = vec![4];
        let encoder = config.encoder.with_posterior(Transformed::new(flows).with_base(Diagonal));
        VaeConfig { encoder, decoder, likelihood, prior }
    };
    let bernoulli = || burn_vae::BernoulliNll;
    let normal = || burn_vae::prior::StandardNormal;
    vec![
        // Networks
        built("no data", "encoder: data_dim is 0", MlpVaeConfig::mlp(0, [4], 2)),
        built("no units", "encoder: hidden[1] is 0", MlpVaeConfig::mlp(6, [4, 0], 2)),
        built("no code", "encoder: latent_dim is 0", MlpVaeConfig::mlp(6, [4], 0)),
        built("2^41 weights", "more than 1073741824", MlpVaeConfig::mlp(2, [1 << 40], 2)),
        built("2^64 weights", "more than 1073741824", MlpVaeConfig::mlp(usize::MAX, [4], 2)),
        built(
            "codes of two lengths",
            "have length 2, but the decoder takes 3",
            mismatched(|c| c.decoder.latent_dim = 3),
        ),
        built(
            "output of another length",
            "outputs 7 values",
            mismatched(|c| c.decoder.output_dim = 7),
        ),
        built("an image without pixels", "image height is 0", conv(|c| c.image[0] = 0)),
        built("no convolutions", "channels is empty", conv(|c| c.channels.clear())),
        built("a stride of 0", "strides[0] is 0", conv(|c| c.strides[0] = 0)),
        built("strides missing", "1 strides for 2 convolutions", conv(|c| c.strides.truncate(1))),
        built("a kernel of 0", "kernel is 0", conv(|c| c.kernel = 0)),
        built("a kernel of 2^40", "kernel is 1099511627776", conv(|c| c.kernel = 1 << 40)),
        built(
            "a batch normalisation without epsilon",
            "epsilon of batch normalisation is 0",
            conv(|c| c.normalization = Normalization::Batch { epsilon: 0.0, momentum: 0.1 }),
        ),
        row(
            "an output bias of another length",
            Shape,
            "biases has shape [1, 2], but [batch, 6]",
            || model().decoder.with_output_bias(&[0.0; 2]),
        ),
        // Likelihoods, priors, posteriors
        built(
            "a scale of 0",
            "fixed scale is 0",
            with(GaussianNllConfig::new(ScaleConfig::fixed(0.0)), normal()),
        ),
        built(
            "a scale of NaN",
            "fixed scale is NaN",
            with(GaussianNllConfig::new(ScaleConfig::fixed(f64::NAN)), normal()),
        ),
        built(
            "a predicted scale without room",
            "needs 2 for each",
            with(GaussianNllConfig::new(ScaleConfig::predicted()), normal()),
        ),
        built(
            "0 degrees of freedom",
            "degrees of freedom is 0",
            with(StudentTNllConfig::new(ScaleConfig::fixed(1.0), 0.0), normal()),
        ),
        row("1 class", Config, "has 1 classes", || CategoricalNll::new(1)),
        row("1 level", Config, "has 1 levels", || DiscretizedLogisticNll::new(1)),
        built(
            "classes that do not divide the data",
            "has 6 values",
            with(CategoricalNll::new(4).unwrap(), normal()),
        ),
        built(
            "a prior of another length",
            "codes of length 3",
            with(bernoulli(), GaussianPriorConfig::new([0.0; 3], [0.0; 3])),
        ),
        built(
            "a prior with a mean of NaN",
            "mean[1] is NaN",
            with(bernoulli(), GaussianPriorConfig::new([0.0, f32::NAN], [0.0; 2])),
        ),
        built(
            "a prior of means and variances",
            "1",
            with(bernoulli(), GaussianPriorConfig::new([0.0, 0.0], [0.0])),
        ),
        built(
            "a mixture of nothing",
            "components is 0",
            with(bernoulli(), MixturePriorConfig::new(0, 2)),
        ),
        built(
            "a VampPrior of nothing",
            "components is 0",
            with(bernoulli(), VampPriorConfig::new(0, 6)),
        ),
        built(
            "a VampPrior of 2^40 inputs",
            "1099511627776",
            with(bernoulli(), VampPriorConfig::new(1 << 40, 6)),
        ),
        built(
            "a VampPrior of other data",
            "have 5 values, but the encoder takes 6",
            with(bernoulli(), VampPriorConfig::new(3, 5)),
        ),
        built(
            "a mixture of 2^40 Gaussians",
            "components is 1099511627776, but it must be at most 1073741824",
            with(bernoulli(), MixturePriorConfig::new(1 << 40, 2)),
        ),
        built(
            "a mixture of 2^32 numbers",
            "65536 Gaussians over codes of length 65536 are too many",
            with(bernoulli(), MixturePriorConfig::new(1 << 16, 1 << 16)),
        ),
        row(
            "a scale for each of 2^63 values",
            Config,
            "learned per value is 9223372036854775807",
            || Scale::learned_per_value(1.0, usize::MAX / 2, &Device::flex()),
        ),
        built(
            "a mixture of 2^64 logistics",
            "outputs 6 values",
            with(DiscretizedLogisticMixtureNll::new(256, usize::MAX).unwrap(), normal()),
        ),
        built(
            "codes of 2^64 dimensions",
            "more than 1073741824",
            MlpVaeConfig::mlp(6, [4], usize::MAX),
        ),
        row("codes of 2^64 dimensions with a full covariance", Config, "more than", || {
            let encoder = MlpEncoderConfig::new(6, [4], usize::MAX).with_posterior(FullCovariance);
            encoder.init(Seed::new(0), &Device::flex())
        }),
        row("codes of 2^64 dimensions with flows", Config, "more than", || {
            let flows = Transformed::new(FlowsConfig::real_nvp(1, [4]));
            let encoder = MlpEncoderConfig::new(6, [4], usize::MAX).with_posterior(flows);
            encoder.init(Seed::new(0), &Device::flex())
        }),
        row("noise of 2^64 dimensions", Config, "more than", || {
            let family = Implicit::new([4]).with_noise_dim(usize::MAX);
            let encoder = MlpEncoderConfig::new(6, [4], 2).with_posterior(family);
            encoder.init(Seed::new(0), &Device::flex())
        }),
        built(
            "a flow of 2^64 dimensions",
            "but it must be at most 1073741824",
            FlowPriorConfig::new(usize::MAX, FlowsConfig::planar(1)),
        ),
        built("masks of 2^40 dimensions", "but it must be at most 1073741824", {
            FlowPriorConfig::new(1 << 40, FlowsConfig::inverse_autoregressive(1, [4]))
        }),
        row("a condition of 2^64 numbers", Config, "no value of the example is left", || {
            let config = ConditionalVaeConfig::mlp(6, 3, [4], 2);
            let config = ConditionalVaeConfig { condition_dim: usize::MAX, ..config };
            config.init(Seed::new(0), &Device::flex())
        }),
        row("a Gaussian fitted to nothing", Value, "cannot be fitted to 0 draws", || {
            FittedGaussian::new(0)
        }),
        row("2^64 draws for contrast", Value, "too many for adaptive contrast", || {
            AdversarialElbo::default().with_adaptive_contrast(usize::MAX)
        }),
        built("no flows", "no", flows(FlowsConfig::planar(0))),
        built(
            "a flow without units",
            "hidden[0] is 0",
            flows(FlowsConfig::inverse_autoregressive(1, [0])),
        ),
        built(
            "a flow prior of another length",
            "length 3",
            with(bernoulli(), FlowPriorConfig::new(3, FlowsConfig::planar(2))),
        ),
        built(
            "a condition that is all",
            "decoder: output_dim is 0",
            ConditionalVaeConfig::mlp(0, 3, [4], 2),
        ),
        row("a temperature of 0", Config, "temperature is 0", || Temperature::constant(0.0)),
        row("a rate of NaN", Config, "temperature's rate is NaN", || {
            Temperature::exponential(1.0, f64::NAN, 0.5)
        }),
        // Objectives, divergences, optimisers, noise
        row("a weight below 0", Value, "-1", || Beta::constant(-1.0)),
        row("a weight of 1e300", Value, "beta is 1e300, more than a 32-bit float holds", || {
            Beta::constant(1e300)
        }),
        row("an order of 1e300", Value, "is 1e300, but beyond 1e30 it must be infinite", || {
            RenyiBound::new(1e300)
        }),
        row("a weight of NaN", Value, "NaN", || Elbo::default().with_beta(f64::NAN)),
        row("free bits below 0", Value, "-1", || Elbo::default().with_free_bits(-1.0)),
        row("an annealing of 0 steps", Config, "warm-up has 0 steps", || Beta::linear(0)),
        row("a cycle that rises for 2 cycles", Value, "2", || Beta::cyclical(10, 2.0)),
        row("a divergence of -3 to reach", Value, "-3", || Beta::target_kl(TargetKl::new(-3.0))),
        row("an order of NaN", Value, "is NaN", || RenyiBound::new(f64::NAN)),
        row("a divergence of order NaN", Value, "is NaN", || RenyiDivergence::new(f64::NAN)),
        row("a CUBO of order 0", Value, "0", || Cubo::new(0.0)),
        row("0 groups", Config, "groups is 0", || Miwae::new(0)),
        row("0 groups of PIWAE", Config, "groups is 0", || Piwae::new(0)),
        row("a mixture with weight 2", Value, "2", || Ciwae::new(2.0)),
        row("a kernel of width 0", Value, "0", || Kernel::gaussian(0.0)),
        row("a beta of 1 in Adam", Value, "1", || Adam::new().with_betas(0.9, 1.0)),
        row("an epsilon of 0", Value, "0", || Adam::new().with_epsilon(0.0)),
        row("a rho of 2", Value, "2", || RmsProp::new().with_rho(2.0)),
        row("noise with a deviation of NaN", Value, "the noise is NaN", || {
            NoiseSource::new(0).with_std(f32::NAN)
        }),
        // Methods of a model
        row("examples of another length", Shape, "x has shape [3, 5], but [batch, 6]", move || {
            model().encode(zeros([3, 5]))
        }),
        row("codes of another length", Shape, "z has shape [3, 6], but [batch, 2]", move || {
            model().decode(zeros([3, 6]))
        }),
        row("reconstructions of another length", Shape, "x has shape [1, 7]", move || {
            model().reconstruct(zeros([1, 7]))
        }),
        row("0 samples", Value, "0 samples", || model().sample(0, 0)),
        row("2^63 samples", Value, "samples of 6 values each were requested, but at most", || {
            model().sample(usize::MAX / 2, 0)
        }),
        row("2^64 samples", Value, "samples of 6 values each were requested, but at most", || {
            model().sample(usize::MAX, 0)
        }),
        row("samples of no condition", Value, "no condition", || {
            let vae =
                ConditionalVaeConfig::mlp(6, 3, [4], 2).init(Seed::new(0), &Device::flex())?;
            vae.sample_given(Tensor::zeros([0, 3], &Device::flex()), 0)
        }),
        row("an interpolation of 2^63 steps", Value, "steps of 6 values each", || {
            let end = || Tensor::zeros([6], &Device::flex());
            model().interpolate(end(), end(), usize::MAX / 2)
        }),
        row("an interpolation of 1 step", Value, "at least 2 steps", move || {
            model().interpolate(
                Tensor::zeros([6], &Device::flex()),
                Tensor::zeros([6], &Device::flex()),
                1,
            )
        }),
        row("an interpolation of other data", Shape, "[1, 5]", move || {
            model().interpolate(
                Tensor::zeros([5], &Device::flex()),
                Tensor::zeros([6], &Device::flex()),
                3,
            )
        }),
        row("an unknown backend", Backend, "there is no backend `abacus`", || {
            backend::device("abacus")
        }),
    ]
}
