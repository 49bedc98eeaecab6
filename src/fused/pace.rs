//! Whether the steps of a training are faster in all threads or in one: both are tried from time to time, and what
//! is faster is done.

use std::time::Duration;

/// Steps of a trial.
pub(super) const TRIAL: u64 = 8;

/// Steps from one pair of trials to the next: few at first, twice as many each time that the same is faster.
const SHORTEST: u64 = 64;
const LONGEST: u64 = 1024;

/// What steps took, and what follows.
#[derive(Debug)]
pub(super) struct Pace {
    step: u64,
    step_took: Duration,
    /// The step with which the next pair of trials begins, one thread first.
    next_trials: u64,
    period: u64,
    is_alone_faster: bool,
    alone: Trial,
    together: Trial,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            step: 0,
            step_took: Duration::ZERO,
            // The first steps of a training are like no others.
            next_trials: 2 * TRIAL,
            period: SHORTEST,
            is_alone_faster: false,
            alone: Trial::default(),
            together: Trial::default(),
        }
    }
}

/// What the steps of a trial took without the slowest of them, which may be of an epoch's end.
#[derive(Debug, Default)]
struct Trial {
    sum: Duration,
    slowest: Duration,
}

impl Trial {
    fn add(&mut self, took: Duration) {
        let slowest = self.slowest.max(took);
        self.sum += self.slowest.min(took);
        self.slowest = slowest;
    }
}

impl Pace {
    /// A piece of the step under way is done.
    pub(super) fn add(&mut self, took: Duration) {
        self.step_took += took;
    }

    /// Whether the step under way is for one thread.
    pub(super) fn is_alone(&self) -> bool {
        match self.step_of_trials() {
            None => self.is_alone_faster,
            Some(step) => step < TRIAL,
        }
    }

    fn step_of_trials(&self) -> Option<u64> {
        self.step.checked_sub(self.next_trials)
    }

    /// The next step begins.
    pub(super) fn advance(&mut self) {
        let took = std::mem::take(&mut self.step_took);
        match self.step_of_trials() {
            None => {}
            Some(step) if step < TRIAL => self.alone.add(took),
            Some(_) => self.together.add(took),
        }
        self.step += 1;
        if self.step_of_trials() == Some(2 * TRIAL) {
            let [alone, together] =
                [&mut self.alone, &mut self.together].map(|trial| std::mem::take(trial).sum);
            let is_alone_faster = alone < together;
            self.period = match is_alone_faster == self.is_alone_faster {
                true => (2 * self.period).min(LONGEST),
                false => SHORTEST,
            };
            self.is_alone_faster = is_alone_faster;
            self.next_trials = self.step + self.period;
        }
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

    fn share(steps: &[bool]) -> f64 {
        steps.iter().filter(|alone| **alone).count() as f64 / steps.len() as f64
    }

    #[test]
    fn what_is_faster_is_done() {
        let steps = course(9000, |step| match step {
            // Now and then one takes long.
            _ if step % 50 == 20 => [1000, 1000],
            3000..6000 => [9, 10],
            _ => [9, 5],
        });
        // Once it is known to last, only trials are otherwise: one step in a hundred.
        let thirds = [0, 1, 2].map(|third| &steps[third * 3000..][1500..3000]);
        let [first, second, third] = thirds.map(share);
        assert!(first < 0.02 && second > 0.98 && third < 0.02, "{first} {second} {third}");
    }

    #[test]
    fn a_trial_at_a_bad_moment_does_not_count_for_long() {
        let steps = course(2000, |step| [9, if step < 40 { 20 } else { 5 }]);
        assert!(share(&steps[..100]) > 0.5);
        assert!(share(&steps[120..]) < 0.03);
    }
}
