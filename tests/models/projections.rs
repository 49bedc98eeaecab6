//! Compares principal components with independent references (`fixtures/pca.py`) and checks
//! properties that hold for any codes. Compares the cost of t-SNE with scikit-learn's
//! (`fixtures/tsne.py`) and checks its documented properties.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::latent::{Pca, Tsne, linear_axis, plane, tsne};
use burn_vae::{ErrorKind, NoiseSource, Seed};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    codes: Vec<Vec<f64>>,
    mean: Vec<f64>,
    axes: Vec<Vec<f64>>,
    variances: Vec<f64>,
    ratio: Vec<f64>,
    scores: Vec<Vec<f64>>,
}

fn tensor(rows: &[Vec<f64>]) -> Tensor<2> {
    let values = rows.iter().flatten().map(|&value| value as f32).collect::<Vec<_>>();
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Standard normal values, `[n, dim]`.
fn normal(n: usize, dim: usize, seed: u64) -> Tensor<2> {
    NoiseSource::new(Seed::new(seed)).draw(0, [1, n, dim], &Device::flex()).squeeze_dim(0)
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= bound, "{what}: value {i} is {found}, not {expected}");
    }
}

#[test]
fn components_are_those_of_the_singular_values() {
    let goldens = include_str!("../fixtures/pca.json");
    for golden in serde_json::from_str::<Vec<Golden>>(goldens).unwrap() {
        let codes = tensor(&golden.codes);
        let pca = Pca::fit(codes.clone()).unwrap();
        let largest = golden.variances[0];
        let size = golden.mean.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        assert_close(pca.mean(), &golden.mean, 1e-14 * size, "mean");
        assert_close(pca.variances(), &golden.variances, 1e-12 * largest, "variances");
        assert_close(&pca.explained_variance_ratio(), &golden.ratio, 1e-12, "ratio");
        for (found, expected) in pca.axes().iter().zip(&golden.axes) {
            assert_close(found, expected, 1e-9, "axis");
        }
        // Projections are returned in 32 bits.
        let components = golden.axes.len();
        let scores = values(pca.project(codes.clone(), components).unwrap());
        let bound = 1e-6 * golden.scores.iter().flatten().fold(0.0_f64, |a, b| a.max(b.abs()));
        assert_close(&scores, &golden.scores.concat(), bound, "scores");
        let points = pca.points(codes).unwrap();
        let points = points.iter().flatten().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let two = scores.chunks(components).flat_map(|row| row[..2].to_vec()).collect::<Vec<_>>();
        assert_eq!(points, two);
    }
}

#[test]
fn an_ellipse_has_its_own_axes() {
    // At equally spaced angles, cos² sums to n / 2 and cos sin to zero.
    let (n, angle, radii, centre) = (360, 0.5_f64, [3.0, 1.0], [10.0, -20.0]);
    let codes = (0..n).map(|i| {
        let t = std::f64::consts::TAU * f64::from(i) / f64::from(n);
        let (u, v) = (radii[0] * t.cos(), radii[1] * t.sin());
        let (sin, cos) = angle.sin_cos();
        vec![centre[0] + cos * u - sin * v, 7.0, centre[1] + sin * u + cos * v]
    });
    let pca = Pca::fit(tensor(&codes.collect::<Vec<_>>())).unwrap();
    let variance = |radius: f64| radius * radius / 2.0 * f64::from(n) / f64::from(n - 1);
    assert_close(pca.mean(), &[centre[0], 7.0, centre[1]], 1e-6, "mean");
    assert_close(pca.variances(), &[variance(3.0), variance(1.0), 0.0], 1e-5, "variances");
    assert_close(&pca.explained_variance_ratio(), &[0.9, 0.1, 0.0], 1e-6, "ratio");
    let (sin, cos) = angle.sin_cos();
    for (found, expected) in
        pca.axes().iter().zip([[cos, 0.0, sin], [-sin, 0.0, cos], [0.0, 1.0, 0.0]])
    {
        assert_close(found, &expected, 1e-6, "axis");
    }
    assert_eq!(pca.titles(), ["PC 1 (90 % of variance)", "PC 2 (10 % of variance)"]);
}

#[test]
fn the_sign_of_an_axis_is_not_left_to_rounding() {
    // The axis is the diagonal, whose values all have the same magnitude.
    for sign in [1.0, -1.0] {
        let along = [-2.3, -0.7, 0.1, 1.9];
        let codes = along.map(|t: f64| vec![sign * t, -sign * t, sign * t]);
        let axis = (1.0_f64 / 3.0).sqrt();
        let pca = Pca::fit(tensor(&codes)).unwrap();
        assert_close(&pca.axes()[0], &[axis, -axis, axis], 1e-7, "axis");
    }
}

#[test]
fn a_plane_through_the_codes_is_the_plane_of_the_components() {
    let codes = normal(50, 6, 3) * Tensor::from_data([[1., 5., 2., 0.5, 3., 1.]], &Device::flex());
    let pca = Pca::fit(codes).unwrap();
    let axis = linear_axis(5, -2.0, 2.0).unwrap();
    let flat = plane(&axis, &axis, 2, &Device::flex()).unwrap();
    let on_plane = pca.inverse(flat.clone()).unwrap();
    assert_eq!(on_plane.dims(), [25, 6]);
    let scores = values(pca.project(on_plane, 6).unwrap());
    let expected =
        values(flat).chunks(2).flat_map(|row| [row, &[0.0; 4]].concat()).collect::<Vec<_>>();
    assert_close(&scores, &expected, 1e-5, "scores");
}

proptest! {
    // The same cases in every run, and no file of failures.
    #![proptest_config(ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn projected_codes_are_uncorrelated(seed: u64, n in 2usize..60, dim in 2usize..12) {
        let codes = normal(n, dim, seed).matmul(normal(dim, dim, seed ^ 1)).add_scalar(3.0);
        let pca = Pca::fit(codes.clone()).unwrap();
        let scores = values(pca.project(codes.clone(), dim).unwrap());
        let largest = pca.variances()[0];
        for i in 0..dim {
            for j in 0..dim {
                let products = scores.chunks(dim).map(|row| row[i] * row[j]);
                let covariance = products.sum::<f64>() / (n - 1) as f64;
                let expected = if i == j { pca.variances()[i] } else { 0.0 };
                prop_assert!((covariance - expected).abs() <= 1e-5 * largest, "{i} {j}");
            }
        }
        prop_assert!(pca.variances().windows(2).all(|pair| pair[0] >= pair[1]));
        prop_assert!((pca.explained_variance_ratio().iter().sum::<f64>() - 1.0).abs() < 1e-12);

        let again = values(pca.inverse(pca.project(codes.clone(), dim).unwrap()).unwrap());
        let codes = values(codes);
        let size = codes.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        assert_close(&again, &codes, 1e-5 * size, "inverse");
        // The axes are an orthonormal basis.
        for (i, a) in pca.axes().iter().enumerate() {
            for (j, b) in pca.axes().iter().enumerate() {
                let product = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let expected = if i == j { 1.0 } else { 0.0 };
                prop_assert!((product - expected).abs() < 1e-12, "{i} {j}");
            }
        }
    }
}

#[test]
fn codes_that_do_not_vary_have_components_without_variance() {
    let pca = Pca::fit(Tensor::full([5, 3], 2.5, &Device::flex())).unwrap();
    assert_eq!(pca.explained_variance_ratio(), [0.0; 3]);
    assert_eq!(pca.points(Tensor::full([1, 3], 2.5, &Device::flex())).unwrap(), [[0.0; 2]]);
}

#[test]
fn what_cannot_be_projected_is_refused() {
    let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &Device::flex());
    let bad = || tensor(&[vec![0.0; 3], vec![1.0, f64::NAN, 0.0]]);
    let pca = Pca::fit(normal(9, 3, 0)).unwrap();
    let shape = [
        (Pca::fit(zeros([1, 3])).err(), "shape [1, 3], but a projection to the plane needs at"),
        (Pca::fit(zeros([3, 1])).err(), "shape [3, 1], but a projection to the plane needs at"),
        (pca.project(zeros([2, 4]), 2).err(), "shape [2, 4], but [batch, 3] is needed"),
        (pca.points(zeros([2, 4])).err(), "shape [2, 4], but [batch, 3] is needed"),
        (pca.project(zeros([2, 3]), 0).err(), "0 components were requested"),
        (pca.project(zeros([2, 3]), 4).err(), "4 components were requested"),
        (pca.inverse(zeros([2, 4])).err(), "codes of length 3 have 1 to 3"),
        (tsne(zeros([1, 3]), &Tsne::default()).err(), "shape [1, 3]"),
        (tsne(zeros([9, 1]), &Tsne::default()).err(), "shape [9, 1]"),
    ];
    let options = Tsne { perplexity: 3.0, epochs: 10, ..Tsne::default() };
    let refused = |options| tsne(normal(10, 3, 0), &options).err();
    let value = [
        (Pca::fit(bad()).err(), "row 1 of the codes has NaN in column 1"),
        (pca.project(bad(), 2).err(), "row 1 of the codes has NaN in column 1"),
        (pca.points(bad()).err(), "row 1 of the codes has NaN in column 1"),
        (pca.inverse(bad()).err(), "row 1 of the components has NaN in column 1"),
        (tsne(bad(), &options).err(), "row 1 of the codes has NaN in column 1"),
        (tsne(zeros([10, 3]), &options).err(), "all 10 codes are the same"),
        (
            refused(Tsne { perplexity: 3.1, ..options }),
            "perplexity is 3.1, but for 10 codes it must lie",
        ),
        (refused(Tsne { perplexity: 0.5, ..options }), "perplexity is 0.5, but for 10 codes"),
        (refused(Tsne { perplexity: f64::NAN, ..options }), "perplexity is NaN"),
        (refused(Tsne { epochs: 0, ..options }), "epochs is 0"),
        (refused(Tsne { theta: 0.0, ..options }), "theta is 0"),
        (refused(Tsne { theta: f64::NAN, ..options }), "theta is NaN"),
    ];
    let shape = shape.map(|case| (case, ErrorKind::Shape));
    let value = value.map(|case| (case, ErrorKind::Value));
    for ((error, reason), kind) in shape.into_iter().chain(value) {
        let error = error.expect(reason);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[derive(Deserialize)]
struct Map {
    perplexity: f64,
    codes: Vec<Vec<f64>>,
    cost: f64,
}

/// Squared distances between all pairs.
fn squares(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    rows.iter().map(|a| rows.iter().map(|b| square(a, b)).collect()).collect()
}

/// The divergence that t-SNE minimises, without approximation (van der Maaten and Hinton 2008,
/// equations 1, 4 and 5).
fn cost(codes: &[Vec<f64>], map: &[[f32; 2]], perplexity: f64) -> f64 {
    let n = codes.len();
    let conditional = |(i, squares): (usize, &Vec<f64>)| {
        let (mut low, mut high) = (0.0, 1e6);
        let mut row = vec![];
        for _ in 0..100 {
            let beta: f64 = 0.5 * (low + high);
            let weight = |j: usize| if j == i { 0.0 } else { (-beta * squares[j]).exp() };
            let sum = (0..n).map(weight).sum::<f64>();
            row = (0..n).map(|j| weight(j) / sum).collect::<Vec<f64>>();
            let entropy = -row.iter().map(|p| p * p.max(1e-300).ln()).sum::<f64>();
            *if entropy > perplexity.ln() { &mut low } else { &mut high } = beta;
        }
        row
    };
    let p = squares(codes).iter().enumerate().map(conditional).collect::<Vec<_>>();
    let map = map.iter().map(|point| point.map(f64::from).to_vec()).collect::<Vec<_>>();
    let near = squares(&map);
    let pairs = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j))).filter(|(i, j)| i != j);
    let z = pairs().map(|(i, j)| 1.0 / (1.0 + near[i][j])).sum::<f64>();
    let terms = pairs().map(|(i, j)| {
        let p = ((p[i][j] + p[j][i]) / (2 * n) as f64).max(1e-300);
        p * (p * z * (1.0 + near[i][j])).ln()
    });
    terms.sum()
}

#[test]
fn the_cost_of_a_map_is_that_of_another_implementation() {
    let golden: Map = serde_json::from_str(include_str!("../fixtures/tsne.json")).unwrap();
    let options = Tsne { perplexity: golden.perplexity, ..Tsne::default() };
    let map = tsne(tensor(&golden.codes), &options).unwrap();
    let found = cost(&golden.codes, &map, golden.perplexity);
    assert!((found / golden.cost - 1.0).abs() < 0.05, "{found}, not {}", golden.cost);
}

/// Four groups of 60 codes, far apart.
fn groups(dim: usize) -> Tensor<2> {
    let centres = normal(4, dim, 11).mul_scalar(6.0).unsqueeze_dim::<3>(1);
    (normal(240, dim, 12).reshape([4, 60, dim]) + centres).reshape([240, dim])
}

#[test]
fn groups_stay_apart_and_the_map_is_the_same_every_time() {
    let options = Tsne { perplexity: 15.0, epochs: 400, ..Tsne::default() };
    let points = tsne(groups(8), &options).unwrap();
    let distance = |i: usize, j: usize| {
        (points[i][0] - points[j][0]).powi(2) + (points[i][1] - points[j][1]).powi(2)
    };
    for i in 0..points.len() {
        let mut others = (0..points.len()).filter(|&j| j != i).collect::<Vec<_>>();
        others.sort_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)));
        assert!(
            others[..10].iter().all(|j| j / 60 == i / 60),
            "neighbours of {i} are in other groups"
        );
    }
    // Points neither diverge nor stay where they began.
    let size = points.iter().flatten().fold(0.0_f32, |size, value| size.max(value.abs()));
    assert!((1.0..200.0).contains(&size), "{size}");

    let bits =
        |points: &[[f32; 2]]| points.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(bits(&tsne(groups(8), &options).unwrap()), bits(&points));
    }
    // From a plain thread, from a pool's thread, and from codes in other units.
    let elsewhere = std::thread::spawn(move || tsne(groups(8), &options).unwrap());
    assert_eq!(bits(&elsewhere.join().unwrap()), bits(&points));
    let larger = tsne(groups(8).mul_scalar(1024.0), &options).unwrap();
    assert_eq!(bits(&larger), bits(&points));
}

#[test]
fn odd_codes_have_a_map() {
    let device = Device::flex();
    let short = Tsne { perplexity: 3.0, epochs: 100, ..Tsne::default() };
    // Few codes, duplicated codes, codes on a line, very large and very small codes.
    let line = Tensor::cat(vec![normal(20, 1, 0), Tensor::zeros([20, 2], &device)], 1);
    for codes in [
        normal(10, 2, 0),
        Tensor::cat(vec![normal(10, 3, 1); 2], 0),
        line,
        normal(20, 3, 2).mul_scalar(1e30),
        normal(20, 3, 2).mul_scalar(1e-30),
    ] {
        let n = codes.dims()[0];
        for epochs in [1, 3, 100] {
            let points = tsne(codes.clone(), &Tsne { epochs, ..short }).unwrap();
            assert_eq!(points.len(), n);
        }
    }
    let least = Tsne { perplexity: 1.0, ..short };
    assert_eq!(tsne(normal(4, 2, 0), &least).unwrap().len(), 4);
}

/// Many or all codes coincide, as in a collapsed model.
#[test]
fn equal_codes_have_a_map_or_an_error() {
    let map = |n: usize, code: &dyn Fn(usize) -> [f32; 3]| {
        let codes = (0..n).flat_map(code).collect::<Vec<_>>();
        let codes = Tensor::<1>::from_data(&codes[..], &Device::flex()).reshape([n, 3]);
        tsne(codes, &Tsne::default())
    };
    for n in [92, 100, 1000] {
        // Sums of these round, so their mean differs from them.
        for code in [[0.0; 3], [0.1, 0.3, -0.7], [1e-30, 3e38, 7.0]] {
            let error = map(n, &|_| code).unwrap_err().to_string();
            assert_eq!(error, format!("all {n} codes are the same, so there is nothing to map"));
        }
        let kinds: [&dyn Fn(usize) -> [f32; 3]; 6] = [
            &|i| if i == 7 { [1.0; 3] } else { [0.1, 0.3, -0.7] },
            &|i| if i % 2 == 0 { [1.0; 3] } else { [0.1, 0.3, -0.7] },
            &|i| if i % 2 == 0 { [0.1; 3] } else { [0.1, 0.1, 0.1 + 1e-8] },
            &|i| [(i % 3) as f32, 0.0, 0.0],
            &|i| [1e-38 * (i % 5) as f32, 1e-20, 0.0],
            &|i| [3e38 * (i % 2) as f32, 0.0, -3e38 * (i % 3) as f32],
        ];
        for (kind, code) in kinds.into_iter().enumerate() {
            match (kind, map(n, code)) {
                // Its last column is beyond the range of 32-bit floats.
                (5, Err(error)) => assert_eq!(error.kind(), ErrorKind::Value, "{kind}: {error}"),
                (_, Ok(points)) => {
                    assert!(points.as_flattened().iter().all(|x| x.is_finite()), "{kind}");
                    assert_eq!((points.len(), kind < 5), (n, true), "{kind}");
                }
                (_, Err(error)) => panic!("{kind}: {error}"),
            }
        }
    }
}
