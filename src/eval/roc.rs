use crate::error::{Error, Result};

/// The receiver operating characteristic of a score that separates positive from negative examples,
/// such as the negative log-likelihood for anomalies (Fawcett 2006).
///
/// ```
/// use burn_vae::eval::Roc;
///
/// let nll = [81.0, 97.0, 150.0, 90.0];
/// let is_anomaly = [false, false, true, true];
/// let roc = Roc::new(&nll, &is_anomaly)?;
/// assert_eq!(roc.auc(), 0.75); // three of the four pairs are in order
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    points: Vec<RocPoint>,
}

/// The rates at which examples with a score of at least `threshold` are called positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// The lowest score that counts as positive; infinite for the first point, where none does.
    pub threshold: f64,
    /// The fraction of the negative examples that are called positive.
    pub false_positive_rate: f64,
    /// The fraction of the positive examples that are called positive.
    pub true_positive_rate: f64,
}

impl Roc {
    /// Computes the characteristic of one score per example; a higher score means positive.
    ///
    /// # Errors
    /// If the lengths differ, if a score is NaN, or if all examples are positive or none is.
    pub fn new(scores: &[f64], positive: &[bool]) -> Result<Self> {
        if scores.len() != positive.len() {
            return Err(Error::value(format!(
                "there are {} scores for {} examples",
                scores.len(),
                positive.len()
            )));
        }
        if let Some(i) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::value(format!("the score of example {i} is NaN")));
        }
        let positives = positive.iter().filter(|&&positive| positive).count();
        let negatives = positive.len() - positives;
        if positives == 0 || negatives == 0 {
            return Err(Error::value(format!(
                "{positives} of {} examples are positive, but a characteristic needs examples of \
                 both kinds",
                positive.len()
            )));
        }
        let mut order = (0..scores.len()).collect::<Vec<_>>();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let point = |threshold, [false_positives, true_positives]: [usize; 2]| RocPoint {
            threshold,
            false_positive_rate: false_positives as f64 / negatives as f64,
            true_positive_rate: true_positives as f64 / positives as f64,
        };
        let mut counts = [0, 0];
        let mut points = vec![point(f64::INFINITY, counts)];
        // Examples with equal scores are called positive together.
        for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
            for &i in group {
                counts[usize::from(positive[i])] += 1;
            }
            points.push(point(scores[group[0]], counts));
        }
        Ok(Self { points })
    }

    /// The points of the curve, from (0, 0) to (1, 1), one for each different score.
    pub fn points(&self) -> &[RocPoint] {
        &self.points
    }

    /// Returns the area under the curve: the probability that a positive example has a higher score
    /// than a negative one, where ties count half.
    pub fn auc(&self) -> f64 {
        let area = |pair: &[RocPoint]| {
            let height = pair[0].true_positive_rate + pair[1].true_positive_rate;
            (pair[1].false_positive_rate - pair[0].false_positive_rate) * height / 2.0
        };
        self.points.windows(2).map(area).sum()
    }
}
