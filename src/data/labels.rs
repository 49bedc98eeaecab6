use std::sync::Arc;

use super::{Examples, Protocol};
use crate::error::{Error, ErrorKind, Result};

/// Examples followed by their class as a one-hot vector, for a
/// [`ConditionalVae`](crate::conditional::ConditionalVae).
///
/// The values and the protocol are unchanged. Wrap [`Binarized`](super::Binarized) examples to
/// binarise the pixels and not the classes:
///
/// ```
/// use burn_vae::data::{Binarized, ByteImages, Examples, WithLabels};
///
/// let images = ByteImages::new(vec![0, 255, 255, 0], [1, 2, 1])?;
/// let examples = WithLabels::new(Binarized::once(images, 0), vec![2, 0], 3)?;
/// let mut x = [0.5; 10];
/// examples.read(&[0, 1], &mut x)?;
/// assert_eq!(x, [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), burn_vae::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WithLabels<E> {
    examples: E,
    labels: Arc<[u8]>,
    classes: usize,
}

impl<E: Examples> WithLabels<E> {
    /// Adds to each example one of `classes` classes, counted from 0.
    ///
    /// # Errors
    /// If the number of labels is not the number of examples, or a label is beyond the last class.
    pub fn new(examples: E, labels: impl Into<Arc<[u8]>>, classes: usize) -> Result<Self> {
        let labels = labels.into();
        if labels.len() != examples.len() {
            return Err(Error::new(
                ErrorKind::Data,
                format!("there are {} labels for {} examples", labels.len(), examples.len()),
            ));
        }
        let wrong = labels.iter().position(|&label| usize::from(label) >= classes);
        if let Some(i) = wrong {
            return Err(Error::new(
                ErrorKind::Data,
                format!(
                    "example {i} has the label {}, but there are only {classes} classes, both counted \
                     from 0",
                    labels[i]
                ),
            ));
        }
        Ok(Self { examples, labels, classes })
    }

    /// The class of each example.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Spreads the examples out and writes the class behind each.
    fn append(&self, indices: &[usize], out: &mut [f32]) {
        let (values, dim) = (self.examples.dim(), self.dim());
        // In reverse, so that no example is overwritten before it is moved.
        for (i, &index) in indices.iter().enumerate().rev() {
            out.copy_within(i * values..(i + 1) * values, i * dim);
            let class = &mut out[i * dim + values..(i + 1) * dim];
            class.fill(0.0);
            class[usize::from(self.labels[index])] = 1.0;
        }
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<E: Examples> Examples for WithLabels<E> {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dim(&self) -> usize {
        self.examples.dim() + self.classes
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        self.examples.read(indices, &mut out[..indices.len() * self.examples.dim()])?;
        self.append(indices, out);
        Ok(())
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let values = &mut out[..indices.len() * self.examples.dim()];
        self.examples.read_in(epoch, indices, values)?;
        self.append(indices, out);
        Ok(())
    }

    fn is_fixed_in_memory(&self) -> bool {
        self.examples.is_fixed_in_memory()
    }

    fn protocol(&self) -> Protocol {
        self.examples.protocol()
    }
}
