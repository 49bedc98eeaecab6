use bhtsne::{Neighbor, tSNE};
use burn::tensor::Tensor;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::pca::Pca;
use super::rows::Rows;
use crate::error::{Error, ErrorKind, Result};

/// Options of [`tsne`](fn@tsne).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tsne {
    /// Effective number of neighbours of a code, from 1 to a third of the other codes.
    pub perplexity: f64,
    /// Steps of gradient descent, at least 1.
    pub epochs: usize,
    /// How coarsely distant points are approximated, above 0. A square of the plane counts as one
    /// point if half its width, over its distance, is less than this. Smaller is more accurate and
    /// slower.
    pub theta: f64,
}

impl Default for Tsne {
    /// A perplexity of 30, 1,000 epochs and a theta of 0.3.
    fn default() -> Self {
        Self { perplexity: 30.0, epochs: 1_000, theta: 0.3 }
    }
}

/// Standard deviation of the initial map.
const START: f64 = 1e-4;
/// Factor of the early exaggeration of the attraction.
const EXAGGERATION: f64 = 12.0;
/// Maximum number of epochs with early exaggeration.
const EARLY: usize = 250;

/// Maps codes `[n, d]` to a plane on which neighbours stay neighbours: t-SNE (van der Maaten and
/// Hinton 2008) with Barnes-Hut forces (van der Maaten 2014).
///
/// The map shows neighbourhoods. Distances between groups, sizes of groups and directions mean
/// nothing. It starts from the first two principal components, scaled to a standard deviation of
/// `1e-4`, which preserves large-scale order where possible (Kobak and Berens 2019).
///
/// In the first quarter of the epochs, at most 250, attraction is exaggerated by 12, the learning
/// rate is `n / 12` (Belkina et al. 2019), at least 50, and the momentum is 0.8. After that the
/// learning rate is `n`, at least 200, and the momentum is 0.9. These rates apply to the gradient
/// without its constant factor of 4 and to gains with a final value of 2, so they are larger than
/// in other implementations.
///
/// Nothing is random: the neighbours are exact, ties go to the code that comes first, and the
/// descent runs in one thread, so sums have a fixed order. On one machine the same codes give the
/// same map bit for bit. Across machines the last digits of `exp` may differ, and the descent
/// amplifies such differences. Codes that lie exactly on a line are mapped to a line.
///
/// The neighbour search takes time proportional to `n² d`, an epoch `n log n`.
///
/// ```no_run
/// # use burn::tensor::{Device, Tensor};
/// use burn_vae::latent::{Tsne, tsne};
/// use burn_vae::viz::Scatter;
///
/// # let (codes, labels) = (Tensor::<2>::zeros([500, 10], &Device::flex()), [0; 500]);
/// let points = tsne(codes, &Tsne { perplexity: 50.0, ..Tsne::default() })?;
/// Scatter::new(&points, &labels)?.with_axes(["t-SNE 1", "t-SNE 2"]).save("tsne.png")?;
/// # Ok::<(), burn_vae::Error>(())
/// ```
///
/// # Errors
/// If there are fewer than two rows or two columns, a value is not finite, all codes are the same,
/// or the perplexity, the epochs or theta are out of range. The range of the perplexity depends on
/// the number of codes.
pub fn tsne(codes: Tensor<2>, options: &Tsne) -> Result<Vec<[f32; 2]>> {
    let codes = Rows::read_many(codes)?;
    let n = codes.len();
    let &Tsne { perplexity, epochs, theta } = options;
    if !(perplexity >= 1.0 && 3.0 * perplexity <= (n - 1) as f64) {
        return Err(Error::value(format!(
            "perplexity is {perplexity}, but for {n} codes it must lie between 1 and a third of the \
             other codes, {:.1}",
            (n - 1) as f64 / 3.0
        )));
    }
    if epochs == 0 {
        return Err(Error::value("epochs is 0, but t-SNE needs at least 1"));
    }
    if !(theta > 0.0 && theta.is_finite()) {
        return Err(Error::value(format!("theta is {theta}, but it must be above 0")));
    }
    // The variance of equal codes is computed about a rounded mean, so it is not always zero.
    let are_same = codes.iter().all(|row| row == codes.row(0));
    let pca = Pca::of(&codes)?;
    let spread = pca.variances().iter().sum::<f64>().sqrt();
    let scale = START / pca.variances()[0].sqrt();
    if are_same || spread == 0.0 || !scale.is_finite() {
        return Err(Error::value(format!(
            "all {n} codes are the same, so there is nothing to map"
        )));
    }
    let start = pca.scores(&codes, 2).into_iter().map(|score| score * scale).collect::<Vec<_>>();
    let neighbours = neighbours(&codes, (3.0 * perplexity) as usize, spread);
    let early = EARLY.min(epochs / 4);

    let pool = ThreadPoolBuilder::new().num_threads(1).build().map_err(|error| {
        Error::new(ErrorKind::Io, format!("no thread could be started: {error}")).with_source(error)
    })?;
    let map = pool.install(|| {
        // Neighbours and start are given, so the codes themselves are not needed.
        let unseen = vec![(); n];
        let descend = |start: Vec<f64>, epochs, lying, rate, momentum| {
            tSNE::<f64, (), 2>::new(&unseen)
                .perplexity(perplexity)
                .epochs(epochs)
                .early_exaggeration(EXAGGERATION)
                .stop_lying_epoch(lying)
                .learning_rate(rate)
                .momentum(momentum)
                .final_momentum(momentum)
                .initial_embedding(start)
                .barnes_hut_with_neighbors(theta, &neighbours)
                .embedding()
        };
        let rate = n as f64;
        let map = descend(start, early, early, (rate / EXAGGERATION).max(50.0), 0.8);
        descend(map, epochs - early, 0, rate.max(200.0), 0.9)
    });
    let points = map.as_chunks().0.iter().map(|point: &[f64; 2]| point.map(|v| v as f32));
    let points = points.collect::<Vec<_>>();
    match points.iter().position(|point| !point.iter().all(|v| v.is_finite())) {
        None => Ok(points),
        Some(i) => Err(Error::value(format!("t-SNE diverged: code {i} went to {:?}", points[i]))),
    }
}

/// Finds the `k` nearest other codes of each code, nearest first, with distances in units of
/// `unit`. Ties go to the smaller index.
fn neighbours(codes: &Rows, k: usize, unit: f64) -> Vec<Vec<Neighbor<f64>>> {
    let nearer = |a: &Neighbor<f64>, b: &Neighbor<f64>| {
        a.distance.total_cmp(&b.distance).then(a.index.cmp(&b.index))
    };
    let of = |i: usize| {
        let others = (0..codes.len()).filter(|&j| j != i).map(|index| {
            let pairs = codes.row(i).iter().zip(codes.row(index));
            let distance = pairs.map(|(a, b)| ((a - b) / unit).powi(2)).sum::<f64>().sqrt();
            Neighbor { index, distance }
        });
        let mut others = others.collect::<Vec<_>>();
        let (near, last, _) = others.select_nth_unstable_by(k - 1, nearer);
        near.sort_unstable_by(nearer);
        near.iter().copied().chain([*last]).collect()
    };
    (0..codes.len()).into_par_iter().map(of).collect()
}
