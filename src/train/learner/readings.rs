use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;

use super::step::Sums;
use crate::backend::is_cpu;
use crate::ops;

/// Adds up the terms of steps, so that a GPU is read once for many steps: each reading waits for all work
/// before it. On the CPU each step is read. Clones share what is added up.
#[derive(Clone, Debug)]
pub(in crate::train) struct Readings {
    waiting: Arc<Mutex<Waiting>>,
    /// Number of steps between readings.
    every: usize,
    /// Everything is read at the end of an epoch.
    steps_per_epoch: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    steps: usize,
    sums: Option<Sums>,
}

impl Readings {
    /// Steps that may be skipped are read in any case, so nothing is added up.
    pub(in crate::train) fn new(device: &Device, steps_per_epoch: usize, skips: bool) -> Self {
        let every = if is_cpu(device) || skips { 1 } else { 32 };
        let steps_per_epoch = steps_per_epoch.max(1) as u64;
        Self { waiting: Arc::default(), every, steps_per_epoch }
    }

    /// Adds the terms of a step; their memory may change afterwards. Returns those of all steps since the
    /// last reading if they are to be read now.
    pub(super) fn add(&self, terms: Sums, step: u64) -> Option<Sums> {
        if self.every == 1 {
            return Some(terms);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { steps, sums } = std::mem::take(&mut *waiting);
        // A smaller batch may have fewer shares than others.
        let is_one = terms.parts.dims()[1] == 1;
        let parts = if is_one { terms.parts } else { ops::row_sums(terms.parts) };
        let (before, examples) = match sums {
            Some(sums) => (sums.parts, sums.examples),
            None => (parts.zeros_like(), 0),
        };
        let sums = Sums { parts: before + parts, examples: examples + terms.examples };
        if steps + 1 == self.every || (step + 1).is_multiple_of(self.steps_per_epoch) {
            return Some(sums);
        }
        *waiting = Waiting { steps: steps + 1, sums: Some(sums) };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tensor;

    /// No step is left out or read twice, and an epoch ends with a reading.
    #[test]
    fn every_step_is_read_once() {
        let device = Device::flex();
        let readings = Readings { every: 32, ..Readings::new(&device, 50, false) };
        let mut found = Vec::new();
        for step in 0..150 {
            // In one share, or in two.
            let parts = match step % 3 {
                0 => Tensor::from_data([[step as f32 - 2.0, 2.0], [0.5, 0.5], [0.0, 0.0]], &device),
                _ => Tensor::from_data([[step as f32], [1.0], [0.0]], &device),
            };
            if let Some(read) = readings.add(Sums { parts, examples: 2 }, step) {
                found.push((step, read.parts.into_data().try_to_vec().unwrap(), read.examples));
            }
        }
        let sum = |steps: std::ops::Range<u64>| {
            let count = steps.end - steps.start;
            let sums = vec![steps.clone().sum::<u64>() as f32, count as f32, 0.0];
            (steps.end - 1, sums, 2 * count as usize)
        };
        let expected = [0..32, 32..50, 50..82, 82..100, 100..132, 132..150].map(sum);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_cpu_is_read_in_each_step() {
        let device = Device::flex();
        let terms = Sums { parts: Tensor::zeros([3, 5], &device), examples: 5 };
        for skips in [false, true] {
            let read = Readings::new(&device, 50, skips).add(terms.clone(), 3);
            assert_eq!(read.map(|read| read.parts.dims()), Some([3, 5]));
        }
    }
}
