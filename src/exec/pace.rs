//! Whether the steps of a training are faster in all threads or in one: the other way is tried from time to time, and
//! what is faster is done. Threads that save less than a tenth of the time are left to others.

use std::time::Duration;

/// Steps of a trial.
const TRIAL: u32 = 8;

/// Steps before it that it is compared to, or as many as there have been: many, so that a bad moment does not tell.
const WINDOW: u32 = 64;

/// Steps from one trial to the next: few at first, four times as many each time that the same is faster.
pub(super) const SHORTEST: u32 = 16;
const LONGEST: u32 = 1024;

/// What steps took, and what follows.
#[derive(Debug)]
pub(super) struct Pace {
    /// The way of all steps but those of a trial.
    is_alone_usual: bool,
    /// The step under way, counted from the last verdict; 0 before the first.
    step: u32,
    step_took: Duration,
    period: u32,
    /// The last steps of a period, and those of the trial that follows.
    usual: Vec<Duration>,
    other: Vec<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            is_alone_usual: false,
            step: 0,
            step_took: Duration::ZERO,
            period: SHORTEST,
            usual: Vec::new(),
            other: Vec::new(),
        }
    }
}

/// What steps took together without the slowest and the fastest eighth, and how many are left: the slowest may be of a
/// moment in which something else wanted the processor, the fastest of an epoch's end, where a batch is smaller.
fn middle(steps: &[Duration]) -> (Duration, u32) {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    let middle = &steps[steps.len() / 8..steps.len() - steps.len().div_ceil(8)];
    (middle.iter().sum(), middle.len() as u32)
}

impl Pace {
    /// Whether the step under way is for one thread.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone_usual != self.is_trial()
    }

    /// Whether one thread is what steps are done in, but for trials.
    pub(super) fn is_alone_usual(&self) -> bool {
        self.is_alone_usual
    }

    fn is_trial(&self) -> bool {
        self.step > self.period
    }

    /// A piece of the step under way is done.
    pub(super) fn add(&mut self, took: Duration) {
        self.step_took += took;
    }

    /// The next step begins.
    pub(super) fn advance(&mut self) {
        let took = std::mem::take(&mut self.step_took);
        if self.is_trial() {
            self.other.push(took);
        } else if self.step > 0 && self.step + WINDOW > self.period {
            self.usual.push(took);
        }
        // A trial ends as soon as it has taken what all of it may take, so that one of a way that is far slower
        // costs little.
        let has_lost = self.is_trial() && {
            let (usual, count) = middle(&self.usual);
            let (usual, other) = (usual * (TRIAL - 2), middle(&self.other).0 * count);
            match self.is_alone_usual {
                true => other * 10 >= usual * 9,
                false => other * 9 >= usual * 10,
            }
        };
        if has_lost || self.step == self.period + TRIAL {
            self.is_alone_usual ^= !has_lost;
            self.period = if has_lost { (4 * self.period).min(LONGEST) } else { SHORTEST };
            (self.step, self.usual, self.other) = Default::default();
        }
        self.step += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of so many steps are for one thread, given the milliseconds of one alone and together.
    fn course(steps: u64, took: impl Fn(u64) -> [u64; 2]) -> Vec<bool> {
        let mut pace = Pace::default();
        let step = |step| {
            pace.advance();
            let [alone, together] = took(step);
            pace.add(Duration::from_millis(if pace.is_alone() { alone } else { together }));
            pace.is_alone()
        };
        (0..steps).map(step).collect()
    }

    fn count(steps: &[bool]) -> usize {
        steps.iter().filter(|alone| **alone).count()
    }

    #[test]
    fn what_is_faster_is_done() {
        let steps = course(9000, |step| match step {
            // Now and then one takes long.
            _ if step % 50 == 20 => [1000, 1000],
            3000..6000 => [9, 10],
            _ => [9, 5],
        });
        // Once it is known to last, only trials are otherwise.
        let thirds = [0, 1, 2].map(|third| count(&steps[third * 3000..][1500..3000]));
        let few = 3 * TRIAL as usize;
        assert!(thirds[0] <= few && thirds[1] >= 1500 - few && thirds[2] <= few, "{thirds:?}");
    }

    #[test]
    fn steps_at_a_bad_moment_do_not_count_for_long() {
        let steps = course(2000, |step| [9, if step < 16 { 20 } else { 5 }]);
        assert!(count(&steps[16..40]) > 16);
        assert!(count(&steps[60..]) < 40);
    }

    #[test]
    fn a_bad_moment_before_a_trial_does_not_decide() {
        for start in 60..600 {
            let moment = start..start + 12;
            let steps = course(1000, |step| [9, if moment.contains(&step) { 20 } else { 5 }]);
            assert!(count(&steps) < 3 * TRIAL as usize, "{start}: {}", count(&steps));
        }
    }

    #[test]
    fn what_saves_little_is_left_to_others() {
        let steps = course(9000, |_| [100, 93]);
        assert!(count(&steps[100..]) > 8600);
    }

    /// A last batch that is smaller, in the same place of every trial.
    #[test]
    fn an_epochs_end_does_not_decide() {
        for epoch in [10, 24, 48, 100] {
            let steps = course(9000, |step| match step % epoch {
                0 => [46, 40],
                _ => [115, 100],
            });
            assert!(count(&steps) < 9000 / 20, "{epoch}: {}", count(&steps));
        }
    }

    #[test]
    fn a_way_that_is_far_slower_is_tried_for_two_steps() {
        let steps = course(40, |_| [500, 5]);
        assert_eq!(count(&steps), 2);
    }
}
