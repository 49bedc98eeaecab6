//! Compares divergences and their gradients with independent references; see
//! `fixtures/divergences.py`.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn_vae::divergence::{
    ChiDivergence, DivergenceTerms, Kernel, Mmd, MonteCarloKl, MonteCarloRenyi, RenyiDivergence,
    Width,
};
use burn_vae::posterior::{Density, DiagonalGaussian, Samples};
use burn_vae::prior::{Distribution, GaussianPriorConfig, StandardNormal};
use burn_vae::{Divergence, KlDivergence, ModuleConfig, NoiseSource, Posterior, Seed};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    gaussians: Vec<Pair>,
    mmd: Vec<Discrepancy>,
}

#[derive(Deserialize, Debug)]
struct Pair {
    name: String,
    order: Option<f64>,
    q: [f32; 2],
    p: [f32; 2],
    value: f64,
    gradient: [f64; 4],
}

#[derive(Deserialize, Debug)]
struct Discrepancy {
    kernel: String,
    is_biased: bool,
    width: Option<f64>,
    z: Vec<[f32; 3]>,
    y: Vec<[f32; 3]>,
    value: f64,
    gradient: Vec<[f64; 3]>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/divergences.json")).unwrap()
}

fn scalar<const D: usize>(x: Tensor<D>) -> f64 {
    f64::from(x.into_scalar::<f32>())
}

/// Whether values agree up to rounding relative to `expected`, or to `size` if `expected` is a
/// difference of larger values.
fn close(found: f64, expected: f64, size: f64) -> bool {
    (found - expected).abs() <= 3e-6 * expected.abs().max(size)
}

/// Up to twenty units in the last place: the largest power in the formulas amplifies rounding about
/// tenfold.
#[test]
fn divergences_between_gaussians() {
    let device = Device::flex().autodiff();
    let pairs = fixture().gaussians;
    assert!(pairs.len() > 30);
    for pair in &pairs {
        let leaf = |x: f32| Tensor::<2>::full([1, 1], x, &device).require_grad();
        let [mq, vq, mp, vp] = [pair.q[0], pair.q[1], pair.p[0], pair.p[1]].map(leaf);
        let q = DiagonalGaussian::new(mq.clone(), vq.clone());
        let p = DiagonalGaussian::new(mp.clone(), vp.clone());
        let divergence = match (pair.name.as_str(), pair.order) {
            ("kl", None) => KlDivergence.between(&q, &p),
            ("renyi", Some(alpha)) => RenyiDivergence::new(alpha).unwrap().between(&q, &p),
            ("chi", Some(n)) => ChiDivergence::new(n).unwrap().between(&q, &p),
            other => panic!("{other:?}"),
        };
        let found = scalar(divergence.clone());
        // The cancelling terms have the size of the difference of the log-variances.
        let size = f64::from(pair.q[1] - pair.p[1]).abs();
        assert!(close(found, pair.value, size.max(1e-3)), "{found}: {pair:?}");
        let size = pair.gradient.iter().fold(0.1f64, |size, part| size.max(part.abs()));
        let gradients = divergence.backward();
        for (leaf, expected) in [mq, vq, mp, vp].iter().zip(pair.gradient) {
            let found = scalar(leaf.grad(&gradients).unwrap());
            assert!(close(found, expected, size), "{found} is not {expected}: {pair:?}");
        }
    }
}

#[test]
fn discrepancies_of_kernels() {
    let device = Device::flex().autodiff();
    let rows = fixture().mmd;
    assert_eq!(rows.len(), 16);
    for row in &rows {
        let points = |rows: &[[f32; 3]]| {
            Tensor::<1>::from_data(rows.as_flattened(), &device).reshape([rows.len(), 3])
        };
        let width = row.width.map_or(Width::OfBatch, Width::Fixed);
        let kernel = match row.kernel.as_str() {
            "gaussian" => Kernel::gaussian(width),
            "laplacian" => Kernel::laplacian(width),
            "inverse_multiquadratic" => Kernel::inverse_multiquadratic(width),
            "rational_quadratic" => Kernel::rational_quadratic(0.5, width),
            other => panic!("{other}"),
        };
        let kernel = kernel.unwrap();
        let mmd = if row.is_biased { Mmd::new(kernel).biased() } else { Mmd::new(kernel) };
        let z = points(&row.z).require_grad();
        let found = mmd.between(z.clone(), points(&row.y));
        // Distances are differences of squares of about ten.
        assert!((scalar(found.clone()) - row.value).abs() < 2e-6, "{found}: {row:?}");
        let gradients = found.backward();
        let gradient = z.grad(&gradients).unwrap().into_data();
        for (found, expected) in gradient.iter::<f64>().zip(row.gradient.as_flattened()) {
            assert!((found - expected).abs() < 2e-6, "{found} is not {expected}: {row:?}");
        }
        let twice = mmd.clone().with_kernel(kernel).between(z, points(&row.y));
        assert!((scalar(twice) - 2.0 * row.value).abs() < 4e-6, "{row:?}");
    }
}

/// Returns samples of a posterior for each example of a batch.
fn posterior() -> (DiagonalGaussian, Samples) {
    let device = Device::flex();
    let q = DiagonalGaussian::new(
        Tensor::from_data([[0.5, -1.0], [0.0, 0.0], [2.0, 0.1]], &device),
        Tensor::from_data([[-1.0, 0.2], [0.0, 0.0], [-3.0, -0.5]], &device),
    );
    let noise = NoiseSource::new(1).draw(0, [20_000, 3, 2], &device);
    let samples = q.draw(noise, Seed::new(5));
    (q, samples)
}

fn values(x: Tensor<1>) -> Vec<f64> {
    x.into_data().iter().collect()
}

/// Within four standard errors of the closed form, with 20,000 samples.
#[test]
fn estimates_from_samples_agree_with_the_closed_form() {
    let (q, samples) = posterior();
    let prior = GaussianPriorConfig::new([0.3, -0.2], [0.5, -0.1]);
    let prior = prior.init(Seed::new(0), &Device::flex()).unwrap();
    let ratio = samples.log_prob(&q) - prior.log_prob(samples.z.clone());
    let errors = values(ratio.clone().var(0).squeeze_dim::<1>(0).sqrt());
    let exact = values(KlDivergence.forward(q.clone(), &prior, &samples).1.total);
    for estimate in [MonteCarloKl::default(), MonteCarloKl::default().sticking_the_landing()] {
        let found = values(estimate.forward(q.clone(), &prior, &samples).1.total);
        for ((found, exact), error) in found.iter().zip(&exact).zip(&errors) {
            let bound = 4.0 * error / 20_000f64.sqrt();
            assert!((found - exact).abs() < bound, "{found} is not {exact} to {bound}");
        }
    }
    for alpha in [0.5, 0.999, 1.5] {
        let exact =
            RenyiDivergence::new(alpha).unwrap().forward(q.clone(), &prior, &samples).1.total;
        let found =
            MonteCarloRenyi::new(alpha).unwrap().forward(q.clone(), &prior, &samples).1.total;
        // Delta method: the error of the logarithm is that of the mean, divided by the mean.
        let powers = ratio.clone().mul_scalar(alpha - 1.0).exp();
        let relative = powers.clone().var(0).sqrt() / powers.mean_dim(0);
        let errors = values(relative.squeeze_dim::<1>(0).div_scalar((alpha - 1.0).abs()));
        for ((found, exact), error) in values(found).iter().zip(values(exact)).zip(errors) {
            let bound = 4.0 * error / 20_000f64.sqrt() + 1e-5;
            assert!((found - exact).abs() < bound, "{alpha}: {found} is not {exact} to {bound}");
        }
    }
}

/// An estimated divergence may be negative for an example, and is not clamped.
#[test]
fn an_estimate_may_be_negative() {
    let (q, samples) = posterior();
    let single = (0..40).map(|k| {
        let one = Samples::new(samples.z.clone().narrow(0, k, 1), samples.seed);
        values(MonteCarloKl::default().forward(q.clone(), &StandardNormal, &one).1.total)
    });
    assert!(single.flatten().any(|kl| kl < 0.0));
}

#[test]
fn divergences_are_identity_layers_that_are_zero_for_the_prior_itself() {
    let device = Device::flex();
    let prior = GaussianPriorConfig::new([0.3, -0.2], [0.5, -0.1]);
    let prior = prior.init(Seed::new(0), &device).unwrap();
    let q = prior.distribution();
    let samples = q.draw(NoiseSource::new(0).draw(0, [8, 1, 2], &device), Seed::new(1));
    fn check<P>(d: impl Divergence<DiagonalGaussian, P>, q: &DiagonalGaussian, p: &P, s: &Samples) {
        let (handed_on, divergence) = d.forward(q.clone(), p, s);
        assert_eq!(handed_on.mean.to_data(), q.mean.to_data());
        assert_eq!(handed_on.log_var.to_data(), q.log_var.to_data());
        assert!(scalar(divergence.total).abs() < 1e-6, "{d:?}");
    }
    check(KlDivergence, &q, &prior, &samples);
    check(MonteCarloKl::default(), &q, &prior, &samples);
    check(MonteCarloRenyi::new(0.3).unwrap(), &q, &prior, &samples);
    check(ChiDivergence::default(), &q, &prior, &samples);
    for alpha in [-2.0, 0.0, 0.5, 1.0, 2.0] {
        check(RenyiDivergence::new(alpha).unwrap(), &q, &prior, &samples);
    }
    let standard =
        DiagonalGaussian::new(Tensor::zeros([1, 2], &device), Tensor::zeros([1, 2], &device));
    check(RenyiDivergence::new(3.0).unwrap(), &standard, &StandardNormal, &samples);
}

#[test]
fn renyi_divergences_rise_with_their_order_to_a_limit() {
    let (q, samples) = posterior();
    let narrow = DiagonalGaussian::new(q.mean.clone(), q.log_var.sub_scalar(1.0));
    let orders = [-3.0, -0.5, 0.0, 0.2, 0.9999, 1.0, 1.0001, 1.7, 5.0, 1e4, f64::INFINITY];
    let of = |alpha| {
        let renyi = RenyiDivergence::new(alpha).unwrap();
        values(renyi.forward(narrow.clone(), &StandardNormal, &samples).1.total)
    };
    for pair in orders.windows(2) {
        for (low, high) in of(pair[0]).into_iter().zip(of(pair[1])) {
            assert!(low <= high + 1e-5, "{pair:?}: {low} {high}");
        }
    }
    for (limit, near) in of(f64::INFINITY).into_iter().zip(of(1e4)) {
        assert!((limit - near).abs() < 1e-2, "{limit} {near}");
    }
    // The variance exceeds the prior's by more than alpha / (alpha - 1), so the mean of this power
    // of q/p is infinite.
    let wide = DiagonalGaussian::new(q.mean.clone(), q.mean.zeros_like().add_scalar(1.0));
    for alpha in [2.0, f64::INFINITY] {
        let renyi = RenyiDivergence::new(alpha).unwrap();
        let found = values(renyi.forward(wide.clone(), &StandardNormal, &samples).1.total);
        assert!(found.iter().all(|&d| d == f64::INFINITY), "{alpha}: {found:?}");
    }
}

/// The unbiased estimate between samples of one distribution is zero on average and sometimes
/// negative; between two distributions it is not zero.
#[test]
fn the_unbiased_discrepancy_has_no_bias() {
    let device = Device::flex();
    let draw = |seed, shift: f32| {
        NoiseSource::new(seed).draw(0, [1, 50, 2], &device).squeeze_dim::<2>(0).add_scalar(shift)
    };
    let mmd = Mmd::new(Kernel::gaussian(1.0).unwrap());
    let found = |shift| {
        (0..200).map(|i| scalar(mmd.between(draw(2 * i, shift), draw(2 * i + 1, 0.0)))).collect()
    };
    let (same, other): (Vec<f64>, Vec<f64>) = (found(0.0), found(0.7));
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let deviation = mean(&same.iter().map(|x| x * x).collect::<Vec<_>>()).sqrt();
    assert!(mean(&same).abs() < 4.0 * deviation / 200f64.sqrt(), "{} {deviation}", mean(&same));
    assert!(same.iter().any(|&x| x < 0.0) && same.iter().any(|&x| x > 0.0));
    assert!(mean(&other) > 4.0 * deviation, "{} {deviation}", mean(&other));
}

/// With more pairs than `flex` sums in one piece.
#[test]
fn a_discrepancy_of_many_points_does_not_depend_on_threads() {
    let device = Device::flex();
    let points = |seed| NoiseSource::new(seed).draw(0, [1, 2100, 3], &device).squeeze_dim(0);
    let mmd = Mmd::new(Kernel::gaussian(1.0).unwrap());
    let discrepancy = || scalar(mmd.between(points(0), points(1).mul_scalar(1.1)));
    let expected = discrepancy();
    for threads in [1, 2, 3, 3, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(discrepancy), expected, "{threads} threads");
    }
}

#[test]
fn a_discrepancy_is_the_same_for_every_example_and_for_the_same_seed() {
    let (q, samples) = posterior();
    let z = samples.z.narrow(0, 0, 10);
    let mmd = Mmd::new(Kernel::inverse_multiquadratic(2.0).unwrap());
    let of = |seed: u64| {
        let samples = Samples::new(z.clone(), Seed::new(seed));
        values(mmd.forward(q.clone(), &StandardNormal, &samples).1.total)
    };
    let found = of(1);
    assert!(found.len() == 3 && found.iter().all(|&d| d == found[0]));
    assert_eq!(found, of(1));
    assert_ne!(found, of(2));
}

/// A learned prior is trained with the model; a fixed one is not.
#[test]
fn only_a_learned_prior_takes_a_gradient() {
    let (q, samples) = posterior();
    for is_learned in [false, true] {
        let config =
            GaussianPriorConfig { is_learned, ..GaussianPriorConfig::new([0.3; 2], [0.1; 2]) };
        let prior = config.init(Seed::new(0), &Device::flex()).unwrap().train();
        let lift = |x: Tensor<2>| Tensor::from_inner(x).require_grad();
        let q = DiagonalGaussian::new(lift(q.mean.clone()), lift(q.log_var.clone()));
        let samples = Samples::new(Tensor::from_inner(samples.z.clone()), samples.seed);
        let gradients = KlDivergence.forward(q, &prior, &samples).1.total.sum().backward();
        assert_eq!(prior.num_params(), 4);
        let moved = GradientsParams::from_grads(gradients, &prior);
        assert_eq!(moved.len(), if is_learned { 2 } else { 0 });
    }
}

/// The scale underflows in 32 bits, and zero divided by it must give zero.
#[test]
fn a_very_narrow_prior_has_a_density_at_its_mean() {
    let device = Device::flex();
    let prior = GaussianPriorConfig::new([0.5], [-180.0]).init(Seed::new(0), &device).unwrap();
    let found = scalar(prior.log_prob(Tensor::full([1, 1, 1], 0.5, &device)));
    let expected = 90.0 - 0.5 * std::f64::consts::TAU.ln();
    assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
    // An equally narrow Gaussian, whose mean differs by less than a float can represent.
    let q = DiagonalGaussian::new(
        Tensor::full([1, 1], 0.5, &device),
        Tensor::full([1, 1], -180.0, &device),
    );
    let kl = scalar(KlDivergence.between(&q, &prior.distribution()));
    assert!(kl.abs() < 1e-5, "{kl}");
}

/// A pointer to a divergence forwards every method.
#[test]
fn a_pointer_forwards_every_method() {
    #[derive(Debug)]
    struct Twice;
    impl Divergence<DiagonalGaussian, StandardNormal> for Twice {
        fn terms(
            &self,
            q: &DiagonalGaussian,
            p: &StandardNormal,
            samples: &Samples,
        ) -> DivergenceTerms {
            KlDivergence.terms(q, p, samples)
        }

        fn forward(
            &self,
            q: DiagonalGaussian,
            p: &StandardNormal,
            samples: &Samples,
        ) -> (DiagonalGaussian, DivergenceTerms) {
            let total = self.terms(&q, p, samples).total.mul_scalar(2.0);
            (q, DivergenceTerms::new(total))
        }
    }
    let device = Device::flex();
    let q =
        DiagonalGaussian::new(Tensor::full([1, 2], 1.0, &device), Tensor::zeros([1, 2], &device));
    let samples = q.draw(Tensor::zeros([1, 1, 2], &device), Seed::new(0));
    let total = |divergence: &dyn Divergence<DiagonalGaussian, StandardNormal>| {
        scalar(divergence.forward(q.clone(), &StandardNormal, &samples).1.total)
    };
    // KL(N(1, 1) || N(0, 1)) is 1/2 in each of two dimensions.
    assert_eq!(
        [total(&Twice), total(&std::sync::Arc::new(Twice)), total(&Box::new(Twice))],
        [2.0; 3]
    );
}

#[test]
fn a_prior_has_the_density_and_the_samples_of_its_parameters() {
    let device = Device::flex();
    let config = GaussianPriorConfig::new([0.5, -2.0], [0.0, -1.5]);
    let prior = config.init(Seed::new(0), &device).unwrap();
    assert_eq!(prior.latent_dim(), Some(2));
    let z = prior.sample(50_000, 2, Seed::new(3), &device);
    for (i, (mean, var)) in [(0.5, 1.0), (-2.0, (-1.5f64).exp())].into_iter().enumerate() {
        let column = z.clone().narrow(1, i, 1);
        let (m, v) = (scalar(column.clone().mean()), scalar(column.var(0)));
        assert!((m - mean).abs() < 4.0 * (var / 50_000.0).sqrt(), "{m} is not {mean}");
        assert!((v - var).abs() < 4.0 * var * (2.0 / 50_000.0f64).sqrt(), "{v} is not {var}");
    }
    let exact = |z: [f64; 2]| {
        let one = |z: f64, m: f64, lv: f64| {
            -0.5 * ((z - m).powi(2) / lv.exp() + lv + std::f64::consts::TAU.ln())
        };
        one(z[0], 0.5, 0.0) + one(z[1], -2.0, -1.5)
    };
    let at = Tensor::<3>::from_data([[[0.25, 1.0]]], &device);
    let found = scalar(prior.log_prob(at));
    assert!(close(found, exact([0.25, 1.0]), 1e-3), "{found}");
    let bad = |mean: &[f32], log_var: &[f32]| {
        GaussianPriorConfig::new(mean, log_var).init(Seed::new(0), &device).unwrap_err().to_string()
    };
    assert!(bad(&[], &[]).contains("number of means is 0"));
    assert!(bad(&[1.0], &[0.0, 0.0]).contains("1 means, but 2 log-variances"));
    assert!(bad(&[1.0, f32::NAN], &[0.0, 0.0]).contains("mean[1] is NaN"));
}

#[test]
fn orders_and_widths_out_of_range_are_refused() {
    assert!(RenyiDivergence::new(f64::NAN).is_err());
    assert!(RenyiDivergence::new(f64::NEG_INFINITY).is_err());
    assert!(MonteCarloRenyi::new(f64::NAN).is_err());
    for n in [1.0, -2.0, f64::NAN, f64::INFINITY] {
        assert!(ChiDivergence::new(n).unwrap_err().to_string().contains("above 1"));
    }
    for width in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Kernel::gaussian(width).is_err() && Kernel::laplacian(width).is_err());
        assert!(Kernel::inverse_multiquadratic(width).is_err());
        assert!(Kernel::rational_quadratic(width, 1.0).is_err());
        assert!(Kernel::rational_quadratic(1.0, width).is_err());
    }
}
