//! The autoregressive prior over indices: a distribution, in order, that is sampled as it is
//! evaluated.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_vae::encoder::{Encoder as _, SpatialEncoder, SpatialEncoderConfig};
use burn_vae::nn::Block;
use burn_vae::posterior::{Density, VectorQuantizedFamily, VectorQuantizedHead};
use burn_vae::prior::{CodeDistribution, Distribution, PixelCnnPrior, PixelCnnPriorConfig, Prior};
use burn_vae::{ModuleConfig, NoiseSource, Phase, Seed};
use proptest::prelude::*;

use crate::parameters::filled;

type Encoder = SpatialEncoder<VectorQuantizedHead>;

fn encoder(height: usize, width: usize, codes: usize) -> Encoder {
    residual_encoder(height, width, codes, 1)
}

/// An encoder whose codes have several indices at a position.
fn residual_encoder(height: usize, width: usize, codes: usize, quantizers: usize) -> Encoder {
    let config = SpatialEncoderConfig::new([height, width, 1], [Block::conv(2, 1)], 3);
    let family = VectorQuantizedFamily::new(codes, 3).with_quantizers(quantizers);
    config.with_posterior(family).init(Seed::new(0), &Device::flex()).unwrap()
}

/// A prior with random weights large enough for unequal probabilities.
fn prior(config: PixelCnnPriorConfig, seed: u64) -> PixelCnnPrior {
    let prior = config.init(Seed::new(seed), &Device::flex()).unwrap();
    let noise = NoiseSource::new(seed).draw(0, [1, 1, prior.num_params()], &Device::flex());
    filled(prior, noise.mul_scalar(0.3).into_data().try_to_vec().unwrap())
}

fn small(height: usize, width: usize, codes: usize) -> PixelCnnPriorConfig {
    PixelCnnPriorConfig {
        channels: 24,
        layers: 3,
        ..PixelCnnPriorConfig::new(height, width, codes)
    }
}

fn indices(values: Vec<i64>, n: usize) -> Tensor<2, Int> {
    let columns = values.len() / n;
    Tensor::from_data(TensorData::new::<i64, _>(values, [n, columns]), &Device::flex())
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

/// All codes of `positions` positions with `codes` codes each.
fn all(positions: u32, codes: i64) -> Tensor<2, Int> {
    let count = codes.pow(positions);
    let digits = |i: i64| (0..positions).map(move |p| i / codes.pow(p) % codes);
    indices((0..count).flat_map(digits).collect(), count as usize)
}

#[test]
fn the_probabilities_of_all_codes_sum_to_one() {
    for (height, width, codes, quantizers) in [
        (2, 2, 3, 1),
        (1, 5, 2, 1),
        (5, 1, 2, 1),
        (3, 2, 2, 1),
        (1, 1, 4, 1),
        (1, 2, 3, 2),
        (2, 2, 2, 2),
        (1, 1, 3, 3),
    ] {
        let prior = prior(PixelCnnPriorConfig { quantizers, ..small(height, width, codes) }, 1);
        let encoder = residual_encoder(height, width, codes, quantizers);
        Prior::check(&prior, &encoder).unwrap();
        let bound = prior.bind(&encoder, Phase::Eval);
        assert_eq!(bound.latent_dim(), Some(encoder.latent_dim()));
        let all = all((height * width * quantizers) as u32, codes as i64);
        let log_probs = values(bound.log_probs(all).sum_dim(1));
        let sum = log_probs.iter().map(|log_p| f64::from(*log_p).exp()).sum::<f64>();
        assert!((sum - 1.0).abs() < 1e-5, "{height} {width} {codes}: {sum}");
        let [least, most] =
            [f32::min, f32::max].map(|f| log_probs.iter().copied().reduce(f).unwrap());
        assert!(height * width == 1 || most - least > 0.5, "{least} {most}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A position sees all positions before it and none after it.
    #[test]
    fn positions_depend_on_those_before(
        height in 1usize..5,
        width in 1usize..5,
        place in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let positions = height * width;
        let place = place.index(positions);
        let bound = prior(small(height, width, 4), seed).bind(&encoder(height, width, 4), Phase::Eval);
        let code = (0..positions).map(|i| ((seed >> (2 * (i % 30))) & 3) as i64).collect::<Vec<_>>();
        let mut other = code.clone();
        other[place] = (other[place] + 1) % 4;
        let log_probs = values(bound.log_probs(indices([code, other].concat(), 2)));
        let (one, two) = log_probs.split_at(positions);
        prop_assert_eq!(&one[..place], &two[..place]);
        // With a kernel of 5 in the first layer and two more layers: at least 3 rows and columns.
        let row = |i: usize| i / width;
        for i in place + 1..positions {
            let is_near = row(i) - row(place) <= 3 && (i % width).abs_diff(place % width) <= 3;
            prop_assert!(!is_near || one[i] != two[i], "{} {}", place, i);
        }
    }
}

/// Within a position, an index sees those before it and none after it; the next position sees all.
#[test]
fn indices_depend_on_those_before_at_their_position() {
    let config = PixelCnnPriorConfig { quantizers: 3, ..small(1, 2, 4) };
    let bound = prior(config, 4).bind(&residual_encoder(1, 2, 4, 3), Phase::Eval);
    let code = [2, 0, 3, 1, 1, 0];
    for place in 0..6 {
        let mut other = code;
        other[place] = (other[place] + 1) % 4;
        let log_probs = values(bound.log_probs(indices([code, other].concat(), 2)));
        let (one, two) = log_probs.split_at(6);
        assert_eq!(one[..place], two[..place]);
        for i in place..6 {
            assert!(one[i] != two[i], "{place} {i}");
        }
    }
}

/// 20,000 draws of two indices at each of two positions, by a chi-squared statistic.
#[test]
fn samples_of_several_indices_follow_the_probabilities() {
    let prior = prior(PixelCnnPriorConfig { quantizers: 2, ..small(1, 2, 3) }, 5);
    let encoder = residual_encoder(1, 2, 3, 2);
    let bound = prior.bind(&encoder, Phase::Eval);
    let log_probs = values(bound.log_probs(all(4, 3)).sum_dim(1));
    let n = 20_000;
    let drawn = prior.sample_indices(n, Seed::new(2), |_, _| {});
    assert_eq!(drawn.dims(), [n, 4]);
    check_frequencies(drawn, &log_probs);
    let z = bound.sample(5, encoder.latent_dim(), Seed::new(3), &Device::flex());
    assert_eq!(z.dims(), [5, encoder.latent_dim()]);
}

/// Compares the frequencies of codes of four indices below 3 with their probabilities, by a chi-squared
/// statistic.
fn check_frequencies(drawn: Tensor<2, Int>, log_probs: &[f32]) {
    let n = drawn.dims()[0];
    let mut counts = vec![0u32; 81];
    for code in drawn.into_data().iter::<i64>().collect::<Vec<_>>().chunks(4) {
        counts[code.iter().rev().fold(0, |i, digit| 3 * i + *digit as usize)] += 1;
    }
    let terms = counts.iter().zip(log_probs).map(|(count, log_p)| {
        let expected = n as f64 * f64::from(*log_p).exp();
        (f64::from(*count) - expected).powi(2) / expected
    });
    // 80 degrees of freedom: mean 80, standard deviation 12.6.
    let statistic = terms.sum::<f64>();
    assert!(statistic < 80.0 + 5.0 * 12.6, "{statistic}");
}

/// 20,000 draws against the probabilities of all codes, by a chi-squared statistic.
#[test]
fn samples_follow_the_probabilities() {
    let prior = prior(small(2, 2, 3), 5);
    let encoder = encoder(2, 2, 3);
    let bound = prior.bind(&encoder, Phase::Eval);
    let log_probs = values(bound.log_probs(all(4, 3)).sum_dim(1));
    let n = 20_000;
    let mut steps = Vec::new();
    let drawn = prior.sample_indices(n, Seed::new(2), |done, of| steps.push((done, of)));
    assert_eq!(steps.len(), 4 * n.div_ceil(256));
    assert_eq!(steps.last(), Some(&(4 * n, 4 * n)));
    assert_eq!(prior.sample_indices(0, Seed::new(2), |_, _| {}).dims(), [0, 4]);
    check_frequencies(drawn, &log_probs);

    // Drawn codes are those of the codebook, with their density; others have none.
    let z = bound.sample(5, encoder.latent_dim(), Seed::new(3), &Device::flex());
    let log_p = values(bound.log_prob(z.clone().unsqueeze_dim(0)));
    assert!(log_p.iter().all(|log_p| log_p.is_finite()), "{log_p:?}");
    let beside = values(bound.log_prob((z + 0.01).unsqueeze_dim(0)));
    assert!(beside.iter().all(|log_p| *log_p == f32::NEG_INFINITY));
}

#[test]
fn priors_that_do_not_fit_are_refused() {
    let good = small(2, 3, 4);
    for (config, message) in [
        (PixelCnnPriorConfig { height: 0, ..good }, "height is 0"),
        (PixelCnnPriorConfig { width: usize::MAX, ..good }, "positions are too many"),
        (PixelCnnPriorConfig { codes: 1, ..good }, "codes is 1"),
        (PixelCnnPriorConfig { channels: 0, ..good }, "channels is 0"),
        (PixelCnnPriorConfig { channels: usize::MAX, ..good }, "weights"),
        (PixelCnnPriorConfig { quantizers: 0, ..good }, "quantizers is 0"),
        (PixelCnnPriorConfig { quantizers: usize::MAX, ..good }, "quantizers is"),
        (PixelCnnPriorConfig { layers: 0, ..good }, "layers is 0"),
        (PixelCnnPriorConfig { layers: usize::MAX, ..good }, "layers is"),
    ] {
        let error = config.init(Seed::new(0), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let deep = PixelCnnPriorConfig { quantizers: 2, ..good };
    let deep = deep.init(Seed::new(0), &Device::flex()).unwrap();
    let error = Prior::check(&deep, &residual_encoder(2, 3, 4, 3)).unwrap_err().to_string();
    let expected = "2 x 3 positions with 2 indices each, but a code has 18 indices in groups of 3";
    assert!(error.contains(expected), "{error}");
    // Or as positions of their own.
    let flat = PixelCnnPriorConfig { width: 9, ..good };
    let flat = flat.init(Seed::new(0), &Device::flex()).unwrap();
    Prior::check(&flat, &residual_encoder(2, 3, 4, 3)).unwrap();
    let prior = good.init(Seed::new(0), &Device::flex()).unwrap();
    for (encoder, message) in [
        (encoder(3, 3, 4), "over 2 x 3 positions with one index each, but a code has 9 indices"),
        (encoder(2, 3, 5), "over 4 codes of an index, but the encoder has 5"),
    ] {
        let error = Prior::check(&prior, &encoder).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
