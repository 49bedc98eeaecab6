//! Chooses whether the steps of a training run on all threads or on one: periodically times the
//! other mode and keeps the faster. Threads that save less than a tenth of the time are left to
//! other programs.

use std::time::Duration;

/// Number of steps of a trial.
const TRIAL: u32 = 8;

/// Maximum number of steps before a trial that it is compared with; many, so that one slow moment
/// does not decide.
const WINDOW: u32 = 64;

/// Number of steps between trials: few at first, and four times as many after each trial that
/// changes nothing.
pub(super) const SHORTEST: u32 = 16;
const LONGEST: u32 = 1024;

/// Durations of the steps and the decision that follows from them.
#[derive(Debug)]
pub(super) struct Pace {
    /// The mode of all steps except those of a trial.
    is_alone_usual: bool,
    /// The current step, counted from the last decision; 0 before the first.
    step: u32,
    step_took: Duration,
    period: u32,
    /// Durations of the last steps before a trial, and of the trial.
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

/// Total duration of the steps without the slowest and the fastest eighth, and their number. The
/// slowest may have competed for the processor, and the fastest may be the smaller batch at the end
/// of an epoch.
fn middle(steps: &[Duration]) -> (Duration, u32) {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    let middle = &steps[steps.len() / 8..steps.len() - steps.len().div_ceil(8)];
    (middle.iter().sum(), middle.len() as u32)
}

impl Pace {
    /// Whether the current step runs on one thread.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone_usual != self.is_trial()
    }

    /// Whether steps outside of trials run on one thread.
    pub(super) fn is_alone_usual(&self) -> bool {
        self.is_alone_usual
    }

    fn is_trial(&self) -> bool {
        self.step > self.period
    }

    /// Adds the duration of a part of the current step.
    pub(super) fn add(&mut self, took: Duration) {
        self.step_took += took;
    }

    /// Starts the next step.
    pub(super) fn advance(&mut self) {
        let took = std::mem::take(&mut self.step_took);
        if self.is_trial() {
            self.other.push(took);
        } else if self.step > 0 && self.step + WINDOW > self.period {
            self.usual.push(took);
        }
        // A trial ends as soon as it has used the time of a whole trial, so a far slower mode costs
        // little.
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

    /// Which steps run on one thread, given the milliseconds of a step alone and together.
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
    fn the_faster_mode_is_used() {
        let steps = course(9000, |step| match step {
            // An occasional slow step.
            _ if step % 50 == 20 => [1000, 1000],
            3000..6000 => [9, 10],
            _ => [9, 5],
        });
        // In a steady state, only trials use the other mode.
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
    fn one_thread_is_used_if_more_save_little() {
        let steps = course(9000, |_| [100, 93]);
        assert!(count(&steps[100..]) > 8600);
    }

    /// A smaller last batch, at the same position in every trial.
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
