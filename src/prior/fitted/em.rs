//! Expectation maximisation in double precision.

use burn::tensor::Tensor;
use nalgebra::{Cholesky, DMatrix, DVector};
use rand::RngExt;
use rayon::prelude::*;

use super::{Fit, FitMixture};
use crate::error::{Error, ErrorKind, Result};
use crate::math::LN_2PI;

/// Iterations of k-means before the first step.
const K_MEANS: usize = 100;

/// Points of a part of a sum; the parts depend on sizes only, so that sums do not depend on threads.
const PART: usize = 1024;

/// Parts to compute at once.
const PARTS: usize = 32;

/// Codes on the host.
pub(super) struct Points {
    values: Vec<f64>,
    dim: usize,
}

impl Points {
    pub(super) fn read(codes: Tensor<2>) -> Result<Self> {
        let dim = codes.dims()[1];
        let data = codes.try_into_data();
        let data = data.map_err(|error| Error::around(error, ErrorKind::Backend))?;
        let values = data.iter::<f64>().collect::<Vec<_>>();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::value(format!(
                "code {} has {} in column {}, but every value must be finite",
                at / dim,
                values[at],
                at % dim
            )));
        }
        Ok(Self { values, dim })
    }

    fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    fn point(&self, i: usize) -> &[f64] {
        &self.values[i * self.dim..][..self.dim]
    }

    /// Maps parts of the points in parallel, with the number of their first point, and passes the
    /// results to `sum` in order. Few of them are kept at a time.
    fn parts<R: Send>(&self, f: impl Fn(usize, &[f64]) -> R + Sync, mut sum: impl FnMut(R)) {
        for (block, values) in self.values.chunks(PARTS * PART * self.dim).enumerate() {
            let parts = values.par_chunks(PART * self.dim).enumerate();
            let results = parts.map(|(i, part)| f((block * PARTS + i) * PART, part));
            results.collect::<Vec<_>>().into_iter().for_each(&mut sum);
        }
    }
}

/// A mixture of Gaussians.
pub(super) struct Gaussians {
    pub(super) weights: Vec<f64>,
    pub(super) means: Vec<DVector<f64>>,
    /// The lower triangular factors of the covariances.
    pub(super) factors: Vec<DMatrix<f64>>,
}

pub(super) fn fit(points: &Points, how: &FitMixture) -> Result<(Gaussians, Fit)> {
    check(points, how)?;
    let means = match &how.means {
        Some(means) => means.clone(),
        None => k_means(points, how),
    };
    let mut shares = Vec::with_capacity(points.len() * means.len());
    points.parts(
        |_, part| {
            let rows = part.chunks_exact(points.dim);
            let weight = |row: &[f64]| {
                let chosen = nearest(row, &means);
                (0..means.len()).map(move |k| f64::from(u8::from(k == chosen)))
            };
            rows.flat_map(weight).collect::<Vec<_>>()
        },
        |part| shares.extend(part),
    );
    let mut gaussians = maximize(points, &shares, how)?;
    let mut fit = Fit { log_likelihood: f64::NEG_INFINITY, iterations: 0, converged: false };
    while fit.iterations < how.max_iterations && !fit.converged {
        let (log_likelihood, shares) = gaussians.expect(points);
        gaussians = maximize(points, &shares, how)?;
        let change = log_likelihood - fit.log_likelihood;
        let (iterations, converged) = (fit.iterations + 1, change.abs() < how.tolerance);
        fit = Fit { log_likelihood, iterations, converged };
    }
    Ok((gaussians, fit))
}

fn check(points: &Points, how: &FitMixture) -> Result<()> {
    let FitMixture { components, regularization, tolerance, max_iterations, means, .. } = how;
    if *components == 0 || *components > points.len() {
        return Err(Error::config(format!(
            "components is {components}, but it must be from 1 to the number of codes, {}",
            points.len()
        )));
    }
    for (name, value) in [("regularization", *regularization), ("tolerance", *tolerance)] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err(Error::config(format!(
                "{name} is {value}, but it must be at least 0 and finite"
            )));
        }
    }
    if *max_iterations == 0 {
        return Err(Error::config("max_iterations is 0, but it must be at least 1"));
    }
    let shapes_agree = |means: &Vec<Vec<f64>>| {
        means.len() == *components && means.iter().all(|mean| mean.len() == points.dim)
    };
    if means.as_ref().is_some_and(|means| !shapes_agree(means)) {
        return Err(Error::config(format!(
            "means must be {components} rows of {} values",
            points.dim
        )));
    }
    Ok(())
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn nearest(point: &[f64], means: &[Vec<f64>]) -> usize {
    let distances = means.iter().map(|mean| squared_distance(point, mean)).enumerate();
    distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(k, _)| k)
}

/// K-means from the start of k-means++: each mean is a point, drawn in proportion to the squared
/// distance to the means so far.
fn k_means(points: &Points, how: &FitMixture) -> Vec<Vec<f64>> {
    let mut rng = how.seed.child("means").rng();
    let n = points.len();
    let mut means = vec![points.point(rng.random_range(0..n)).to_vec()];
    let mut distances = vec![f64::INFINITY; n];
    while means.len() < how.components {
        let last = &means[means.len() - 1];
        for (i, distance) in distances.iter_mut().enumerate() {
            *distance = distance.min(squared_distance(points.point(i), last));
        }
        let mut rest = rng.random::<f64>() * distances.iter().sum::<f64>();
        let chosen = distances.iter().position(|distance| {
            rest -= distance;
            rest < 0.0
        });
        means.push(points.point(chosen.unwrap_or(n - 1)).to_vec());
    }
    for _ in 0..K_MEANS {
        let mut sums = vec![vec![0.0; points.dim + 1]; means.len()];
        points.parts(
            |_, part| {
                let mut sums = vec![vec![0.0; points.dim + 1]; means.len()];
                for row in part.chunks_exact(points.dim) {
                    let sum = &mut sums[nearest(row, &means)];
                    sum.iter_mut().zip(row.iter().chain([&1.0])).for_each(|(sum, x)| *sum += x);
                }
                sums
            },
            |part| {
                let all = sums.iter_mut().flatten().zip(part.into_iter().flatten());
                all.for_each(|(sum, part)| *sum += part);
            },
        );
        let before = means.clone();
        for (mean, sum) in means.iter_mut().zip(&sums) {
            let count = sum[points.dim];
            for (value, sum) in mean.iter_mut().zip(sum).filter(|_| count > 0.0) {
                *value = sum / count;
            }
        }
        if means == before {
            break;
        }
    }
    means
}

/// Returns the mixture that is most likely if each point belongs to the Gaussians in given shares,
/// `[n, components]`.
fn maximize(points: &Points, shares: &[f64], how: &FitMixture) -> Result<Gaussians> {
    let (dim, count) = (points.dim, how.components);
    let (mut totals, mut means) = (vec![0.0; count], vec![DVector::zeros(dim); count]);
    points.parts(
        |start, part| {
            let mut sums = vec![(0.0, DVector::zeros(dim)); count];
            for (row, shares) in part.chunks_exact(dim).zip(shares[start * count..].chunks(count)) {
                for ((total, sum), share) in sums.iter_mut().zip(shares) {
                    *total += share;
                    sum.axpy(*share, &DVector::from_column_slice(row), 1.0);
                }
            }
            sums
        },
        |part| {
            for (k, (total, sum)) in part.into_iter().enumerate() {
                totals[k] += total;
                means[k] += sum;
            }
        },
    );
    // As in scikit-learn, so that no Gaussian without points divides by zero.
    totals.iter_mut().for_each(|total| *total += 10.0 * f64::EPSILON);
    means.iter_mut().zip(&totals).for_each(|(mean, total)| *mean /= *total);
    let mut covariances = vec![DMatrix::zeros(dim, dim); count];
    points.parts(
        |start, part| {
            let mut scatters = vec![DMatrix::zeros(dim, dim); count];
            for (row, shares) in part.chunks_exact(dim).zip(shares[start * count..].chunks(count)) {
                let row = DVector::from_column_slice(row);
                for ((scatter, mean), share) in scatters.iter_mut().zip(&means).zip(shares) {
                    if *share > 0.0 {
                        let off = &row - mean;
                        scatter.ger(*share, &off, &off, 1.0);
                    }
                }
            }
            scatters
        },
        |part| covariances.iter_mut().zip(part).for_each(|(sum, scatter)| *sum += scatter),
    );
    let factor = |(k, (covariance, total)): (usize, (DMatrix<f64>, &f64))| {
        let mut covariance: DMatrix<f64> = covariance / *total;
        (0..dim).for_each(|j| covariance[(j, j)] += how.regularization);
        Cholesky::new(covariance).map(|factor| factor.unpack()).ok_or_else(|| {
            Error::value(format!(
                "the covariance of component {k} is singular: increase the regularization or take \
                 fewer components"
            ))
        })
    };
    let factors = covariances.into_iter().zip(&totals).enumerate().map(factor);
    let factors = factors.collect::<Result<_>>()?;
    let all = totals.iter().sum::<f64>();
    Ok(Gaussians { weights: totals.iter().map(|total| total / all).collect(), means, factors })
}

impl Gaussians {
    pub(super) fn dim(&self) -> usize {
        self.means[0].len()
    }

    /// Returns the mean log-likelihood of the points and the share of each Gaussian in each of them,
    /// `[n, components]`.
    fn expect(&self, points: &Points) -> (f64, Vec<f64>) {
        let dim = points.dim;
        let constants = self.weights.iter().zip(&self.factors).map(|(weight, factor)| {
            let log_det = (0..dim).map(|j| factor[(j, j)].ln()).sum::<f64>();
            weight.ln() - log_det - 0.5 * dim as f64 * LN_2PI
        });
        let constants = constants.collect::<Vec<_>>();
        let (mut all, mut all_shares) = (0.0, Vec::with_capacity(points.len() * self.means.len()));
        let of_part = |_, part: &[f64]| {
            let (mut sum, mut shares) = (0.0, Vec::with_capacity(part.len() / dim));
            let mut off = DVector::zeros(dim);
            for row in part.chunks_exact(dim) {
                let logs = (0..self.means.len()).map(|k| {
                    off.copy_from_slice(row);
                    off -= &self.means[k];
                    self.factors[k].solve_lower_triangular_mut(&mut off);
                    constants[k] - 0.5 * off.norm_squared()
                });
                let logs = logs.collect::<Vec<_>>();
                let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total = logs.iter().map(|log| (log - highest).exp()).sum::<f64>();
                let log_total = highest + total.ln();
                sum += log_total;
                shares.extend(logs.iter().map(|log| (log - log_total).exp()));
            }
            (sum, shares)
        };
        points.parts(of_part, |(sum, shares)| {
            all += sum;
            all_shares.extend(shares);
        });
        (all / points.len() as f64, all_shares)
    }
}
