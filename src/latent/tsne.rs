use bhtsne::{Neighbor, tSNE};
use burn::tensor::Tensor;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::pca::Pca;
use super::rows::Rows;
use crate::error::{Error, ErrorKind, Result};

/// How [`tsne`](fn@tsne) maps codes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tsne {
    /// How many neighbours a code effectively has, from 1 to a third of the other codes.
    pub perplexity: f64,
    /// Steps of gradient descent, at least 1.
    pub epochs: usize,
    /// How coarsely distant points are lumped together: a square of the plane is one point to those
    /// that see half its width at less than this angle. Above 0; less is finer and slower.
    pub theta: f64,
}

impl Default for Tsne {
    /// A perplexity of 30, 1,000 epochs and a theta of 0.3.
    fn default() -> Self {
        Self { perplexity: 30.0, epochs: 1_000, theta: 0.3 }
    }
}

/// The spread that the map starts with.
const START: f64 = 1e-4;
/// The factor by which attraction is exaggerated at first.
const EXAGGERATION: f64 = 12.0;
/// In how many epochs, at most, it is.
const EARLY: usize = 250;

/// A map of codes `[n, d]` on which neighbours stay neighbours: t-SNE (van der Maaten and Hinton
/// 2008) with the forces of Barnes and Hut (van der Maaten 2014).
///
/// Neighbourhoods can be read from such a map; distances between groups, their sizes and the
/// directions of the map cannot. The map starts from the first two principal components, scaled to
/// a standard deviation of `1e-4`, which keeps as much of the large-scale order as there is (Kobak
/// and Berens 2019). In the first quarter of the epochs, at most 250, attraction is exaggerated by
/// 12, the learning rate is `n / 12` (Belkina et al. 2019), at least 50, and the momentum 0.8; after
/// that they are `n`, at least 200, and 0.9. These rates are for the gradient without its constant
/// factor of 4, and for gains that end at 2, which is why they are larger than elsewhere.
///
/// No random number is drawn: the neighbours are exact, ties go to the code that comes first, and
/// the descent runs in one thread, so that the sums are in one order. On one machine the same codes
/// give the same map bit for bit; on another, the last digits of `exp` may differ, and a descent
/// enlarges such differences. Codes that lie exactly on a line are mapped to a line.
///
/// The search for neighbours takes a time that grows with `n² d`, an epoch one with `n log n`.
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
/// If there are fewer than two rows or two columns, if a value is not finite, if all codes are the
/// same, or if the perplexity, the epochs or theta lie outside their range. The perplexity's depends
/// on the number of codes.
pub fn tsne(codes: Tensor<2>, options: &Tsne) -> Result<Vec<[f32; 2]>> {
    let codes = Rows::read_many(codes)?;
    let n = codes.len();
    let &Tsne { perplexity, epochs, theta } = options;
    if !(perplexity >= 1.0 && 3.0 * perplexity <= (n - 1) as f64) {
        return Err(Error::value(format!(
            "{n} codes have no t-SNE of perplexity {perplexity}; it must lie between 1 and a third \
             of the other codes, {:.1}",
            (n - 1) as f64 / 3.0
        )));
    }
    if epochs == 0 {
        return Err(Error::value("t-SNE was given 0 epochs, but at least 1 is needed"));
    }
    if !(theta > 0.0 && theta.is_finite()) {
        return Err(Error::value(format!("theta is {theta}, but it must be above 0")));
    }
    // The variance of equal codes is that of their rounded mean, which is not always zero.
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
        // Neighbours and start are given, so the codes themselves are not looked at.
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

/// The `k` nearest other codes of each code with their distances in units of `unit`, nearest first,
/// of equal ones that with the smaller number.
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
