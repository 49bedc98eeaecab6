use std::time::{Duration, Instant};

use burn::tensor::Device;

/// Finds out whether recorded steps are faster: to run them, the host must wait for what it has started
/// before. Some of each kind are timed in turn. Both compute the same bits.
#[derive(Default)]
pub(super) struct Trial {
    /// Steps of the current turn, and when it began.
    steps: usize,
    start: Option<Instant>,
    /// Durations of the turns of recorded and of ordinary steps.
    took: [Vec<Duration>; 2],
}

impl Trial {
    /// Number of steps of a turn, and of turns of each kind.
    const STEPS: usize = 32;
    const TURNS: usize = 5;

    /// Whether recorded steps have lost.
    pub(super) fn is_lost(&self) -> bool {
        let [recorded, ordinary] = &self.took;
        ordinary.len() == Self::TURNS && recorded[Self::TURNS / 2] > ordinary[Self::TURNS / 2]
    }

    /// Whether the next step is to be a recorded one.
    pub(super) fn is_recorded(&mut self, device: &Device) -> bool {
        let [recorded, ordinary] = &mut self.took;
        if ordinary.len() == Self::TURNS {
            return true;
        }
        // A device that fails says so where results are read.
        let now = || {
            let _failed = device.sync();
            Instant::now()
        };
        let start = *self.start.get_or_insert_with(now);
        let is_recorded = recorded.len() == ordinary.len();
        self.steps += 1;
        if self.steps > Self::STEPS {
            let end = now();
            let turns = if is_recorded { recorded } else { ordinary };
            turns.push(end - start);
            turns.sort_unstable();
            (self.steps, self.start) = (1, Some(end));
            return !is_recorded;
        }
        is_recorded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds take turns, and the faster one is kept.
    #[test]
    fn the_faster_kind_is_kept() {
        let device = Device::flex();
        for (recorded, ordinary) in [(0, 1), (1, 0)] {
            let mut trial = Trial::default();
            let step = |_| {
                let is_recorded = !trial.is_lost() && trial.is_recorded(&device);
                let millis = if is_recorded { recorded } else { ordinary };
                std::thread::sleep(Duration::from_millis(millis));
                is_recorded
            };
            let steps = (0..360).map(step).collect::<Vec<_>>();
            let trial = &steps[..2 * Trial::STEPS * Trial::TURNS];
            for (i, turn) in trial.chunks(Trial::STEPS).enumerate() {
                assert!(turn.iter().all(|is_recorded| *is_recorded == (i % 2 == 0)), "{i}");
            }
            assert!(steps[325..].iter().all(|is_recorded| *is_recorded == (recorded == 0)));
        }
    }
}
