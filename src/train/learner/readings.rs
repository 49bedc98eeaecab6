use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Device, Tensor};

use crate::backend::is_cpu;

/// Collects the terms of steps, so that a GPU is read once for many steps: each reading waits for all
/// work before it. On the CPU each step is read. Clones share what is collected.
#[derive(Clone, Debug)]
pub(in crate::train) struct Readings {
    waiting: Arc<Mutex<Vec<Tensor<2>>>>,
    /// Number of steps between readings.
    every: usize,
    /// Everything is read at the end of an epoch.
    steps_per_epoch: u64,
}

impl Readings {
    /// Steps that may be skipped are read in any case, so nothing is collected.
    pub(in crate::train) fn new(device: &Device, steps_per_epoch: usize, skips: bool) -> Self {
        let every = if is_cpu(device) || skips { 1 } else { 32 };
        let steps_per_epoch = steps_per_epoch.max(1) as u64;
        Self { waiting: Arc::default(), every, steps_per_epoch }
    }

    /// Adds the terms of a step, `[3, batch]`. Returns those of all steps since the last reading,
    /// `[3, examples]`, if they are to be read now.
    pub(super) fn add(&self, terms: Tensor<2>, step: u64) -> Option<Tensor<2>> {
        if self.every == 1 {
            return Some(terms);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(terms);
        let is_due = waiting.len() == self.every || (step + 1).is_multiple_of(self.steps_per_epoch);
        is_due.then(|| Tensor::cat(std::mem::take(&mut waiting), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No step is left out or read twice, and an epoch ends with a reading.
    #[test]
    fn every_step_is_read_once() {
        let device = Device::flex();
        let readings = Readings { every: 32, ..Readings::new(&device, 50, false) };
        let mut found = Vec::new();
        for step in 0..150 {
            let terms = Tensor::from_data([[step as f32], [0.0], [0.0]], &device);
            let read = readings.add(terms, step);
            assert_eq!(read.is_some(), matches!(step % 50, 31 | 49), "{step}");
            if let Some(read) = read {
                found.extend(read.narrow(0, 0, 1).into_data().iter::<f32>());
            }
        }
        assert_eq!(found, (0..150).map(|step| step as f32).collect::<Vec<_>>());
    }

    #[test]
    fn the_cpu_is_read_in_each_step() {
        let device = Device::flex();
        let terms = Tensor::<2>::zeros([3, 5], &device);
        for skips in [false, true] {
            let read = Readings::new(&device, 50, skips).add(terms.clone(), 3);
            assert_eq!(read.map(|read| read.dims()), Some([3, 5]));
        }
    }
}
