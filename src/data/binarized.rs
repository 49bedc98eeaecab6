use rand::RngExt;

use super::each::{each_row, share};
use super::{ByteImages, Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};
use crate::seed::Seed;

/// Examples whose values, in [0, 1], are the probabilities of bits.
///
/// A Bernoulli likelihood gives bits a probability, but not grey values. Figures on a `Binarized`
/// set can therefore be compared with published ones. There are two protocols.
///
/// | | bits of an example | for |
/// |---|---|---|
/// | [`once`](Self::once) | the same at every read | a test set, a fixed training set |
/// | [`each_epoch`](Self::each_epoch) | drawn anew in each epoch | a training set |
///
/// The bits of an example depend only on the seed, its index and the epoch.
///
/// ```
/// use burn_vae::data::{Binarized, ByteImages, Examples};
///
/// let grey = ByteImages::new(vec![0, 128, 255], [1, 3, 1])?;
/// let bits = Binarized::once(grey, 0);
/// let mut x = [0.5; 3];
/// bits.read(&[0], &mut x)?;
/// assert_eq!((x[0], x[2]), (0.0, 1.0));
/// assert!(x[1] == 0.0 || x[1] == 1.0);
/// assert_eq!(bits.protocol().to_string(), "static binarisation, seed 0");
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Binarized<E> {
    examples: E,
    seed: Seed,
    is_dynamic: bool,
}

impl<E: Examples> Binarized<E> {
    /// Draws the bits once.
    pub fn once(examples: E, seed: impl Into<Seed>) -> Self {
        Self { examples, seed: seed.into(), is_dynamic: false }
    }

    /// Draws the bits anew in each epoch of training; [`read`](Examples::read) returns those of the
    /// first.
    pub fn each_epoch(examples: E, seed: impl Into<Seed>) -> Self {
        Self { examples, seed: seed.into(), is_dynamic: true }
    }
}

impl Binarized<ByteImages> {
    /// Returns the bits as black-and-white images with their labels, to look at or to save for
    /// other programs.
    ///
    /// The images have the protocol [`Grey`](Protocol::Grey): figures computed on them no longer
    /// name the binarisation.
    pub fn to_images(&self) -> Result<ByteImages> {
        let mut row = vec![0.0; self.dim()];
        let mut pixels = Vec::with_capacity(self.len() * self.dim());
        for index in 0..self.len() {
            self.read(&[index], &mut row)?;
            pixels.extend(row.iter().map(|bit| (bit * 255.0) as u8));
        }
        Ok(self.examples.with_pixels(pixels))
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<E: Examples> Examples for Binarized<E> {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dim(&self) -> usize {
        self.examples.dim()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.read_in(0, indices, out)
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.examples.read_in(epoch, indices, out)?;
        let seed = self.seed.at(if self.is_dynamic { epoch } else { 0 });
        each_row(indices, out, self.dim(), share(self.dim()), |index, row| {
            let mut rng = seed.at(index as u64).rng();
            for value in row {
                if !(0.0..=1.0).contains(value) {
                    return Err(Error::new(
                        ErrorKind::Data,
                        format!(
                            "example {index} holds {value}, which is not a probability in [0, 1]"
                        ),
                    ));
                }
                // Most pixels are black or white, so no draw is needed.
                let is_certain = *value == 0.0 || *value == 1.0;
                *value = f32::from(if is_certain {
                    *value == 1.0
                } else {
                    rng.random::<f32>() < *value
                });
            }
            Ok(())
        })
    }

    fn is_fixed_in_memory(&self) -> bool {
        self.examples.is_fixed_in_memory() && !self.is_dynamic
    }

    fn protocol(&self) -> Protocol {
        match self.is_dynamic {
            true => Protocol::DynamicBinarization { seed: self.seed },
            false => Protocol::StaticBinarization { seed: self.seed },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> ByteImages {
        let pixels = (0..3000).map(|i| [0, 64, 191, 255][i % 4]).collect::<Vec<_>>();
        ByteImages::new(pixels, [10, 10, 1]).unwrap()
    }

    fn bits(set: &impl Examples, epoch: u64, indices: &[usize]) -> Vec<f32> {
        let mut out = vec![0.5; indices.len() * set.dim()];
        set.read_in(epoch, indices, &mut out).unwrap();
        out
    }

    #[test]
    fn bits_have_the_probabilities_of_the_grey_values() {
        let all = (0..30).collect::<Vec<_>>();
        let set = Binarized::each_epoch(images(), 3);
        let mut sums = [0.0f64; 4];
        let epochs = 40;
        for epoch in 0..epochs {
            for (i, bit) in bits(&set, epoch, &all).into_iter().enumerate() {
                assert!(bit == 0.0 || bit == 1.0);
                sums[i % 4] += f64::from(bit);
            }
        }
        let n = (750 * epochs) as f64;
        for (sum, p) in sums.into_iter().zip([0.0, 64.0 / 255.0, 191.0 / 255.0, 1.0]) {
            let error: f64 = (p * (1.0 - p) / n).sqrt();
            assert!((sum / n - p).abs() <= 4.0 * error, "{} is not {p}", sum / n);
        }
    }

    #[test]
    fn an_example_keeps_its_bits_wherever_it_is_read() {
        for set in [Binarized::once(images(), 3), Binarized::each_epoch(images(), 3)] {
            let together = bits(&set, 5, &[7, 2, 9]);
            assert_eq!(together[100..200], bits(&set, 5, &[2]));
        }
    }

    #[test]
    fn only_dynamic_bits_change_with_the_epoch() {
        let (once, each) = (Binarized::once(images(), 3), Binarized::each_epoch(images(), 3));
        assert_eq!(bits(&once, 0, &[1]), bits(&once, 4, &[1]));
        assert_ne!(bits(&each, 0, &[1]), bits(&each, 4, &[1]));
        assert_ne!(bits(&once, 0, &[1]), bits(&once, 0, &[2]));
        assert_ne!(bits(&once, 0, &[1]), bits(&Binarized::once(images(), 4), 0, &[1]));
    }

    #[test]
    fn values_that_are_not_probabilities_are_refused() {
        struct Bad;
        impl Examples for Bad {
            fn len(&self) -> usize {
                3
            }
            fn dim(&self) -> usize {
                1
            }
            fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
                out.iter_mut().zip(indices).for_each(|(out, &i)| *out = [0.5, 1.5, f32::NAN][i]);
                Ok(())
            }
        }
        let set = Binarized::once(Bad, 0);
        assert!(set.read(&[0], &mut [0.0]).is_ok());
        for (index, text) in [(1, "example 1 holds 1.5"), (2, "example 2 holds NaN")] {
            let error = set.read(&[index], &mut [0.0]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
