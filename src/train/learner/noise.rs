use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use crate::backend::is_cpu;
use crate::noise::{NoiseShape, NoiseSource};

/// Draws the noise of the next step on the threads of the host while a GPU computes this one. Clones
/// share what is drawn.
#[derive(Clone, Debug, Default)]
pub(in crate::train) struct NoiseAhead(Arc<Mutex<Option<Ahead>>>);

/// What a step needs: a source, a step, samples and examples.
type Key = (NoiseSource, u64, [usize; 2]);

#[derive(Debug)]
struct Ahead {
    key: Key,
    values: Receiver<Vec<f32>>,
}

impl NoiseAhead {
    /// Returns the noise of a step, `[samples, examples, shape.dim()]`, as
    /// [`NoiseSource::draw_for`] does.
    pub(super) fn draw(
        &self,
        source: &NoiseSource,
        step: u64,
        samples: usize,
        examples: usize,
        shape: &NoiseShape,
        device: &Device,
    ) -> Tensor<3> {
        // A thread of a rayon pool might wait for work that only it could do.
        if is_cpu(device) || rayon::current_thread_index().is_some() {
            return source.draw_for(step, samples, examples, shape, device);
        }
        let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (*source, step, [samples, examples]);
        let drawn = ahead.take().filter(|ahead| ahead.key == key);
        // The thread may have ended early only if the process does.
        let values = drawn.and_then(|ahead| ahead.values.recv().ok());
        let values = values.unwrap_or_else(|| source.values_for(step, samples, examples, shape));
        *ahead = Some(start(*source, step + 1, [samples, examples], shape.clone()));
        let dims = [samples, examples, shape.dim()];
        Tensor::from_data(TensorData::new::<f32, _>(values, dims), device)
    }
}

fn start(source: NoiseSource, step: u64, counts: [usize; 2], shape: NoiseShape) -> Ahead {
    let (sender, values) = channel();
    let [samples, examples] = counts;
    rayon::spawn(move || {
        // Nobody may want it, as after the last step.
        let _unwanted = sender.send(source.values_for(step, samples, examples, &shape));
    });
    Ahead { key: (source, step, counts), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of the source, drawn ahead or not.
    #[test]
    fn noise_is_that_of_the_source() {
        let (source, shape) = (NoiseSource::new(7), NoiseShape::normal(5));
        for step in [3, 4, 9] {
            let ahead = start(source, step, [2, 3], shape.clone());
            assert_eq!(ahead.values.recv().unwrap(), source.values_for(step, 2, 3, &shape));
        }
    }
}
