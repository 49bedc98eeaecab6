//! Chooses the number of threads that run the steps of a training: all, half of them, a quarter and
//! so on, or one. Periodically times steps on the next smaller or larger number and keeps the
//! faster. Threads that save little are left to other programs: a halving may cost its share of a
//! tenth of the time, which is what all of them together may cost.

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
    /// How often the number of threads is halved in all steps except those of a trial.
    usual: u32,
    /// The number of halvings that leaves one thread.
    most: u32,
    /// Whether the next trial is on fewer threads.
    tries_fewer: bool,
    /// The current step, counted from the last decision; 0 before the first.
    step: u32,
    step_took: Duration,
    period: u32,
    /// Durations of the last steps before a trial, and of the trial.
    before: Vec<Duration>,
    trial: Vec<Duration>,
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
    /// Starts with all of `threads`.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            usual: 0,
            most: threads.max(1).ilog2(),
            tries_fewer: true,
            step: 0,
            step_took: Duration::ZERO,
            period: SHORTEST,
            before: Vec::new(),
            trial: Vec::new(),
        }
    }

    /// How often the number of threads is halved for the current step.
    pub(super) fn halvings(&self) -> u32 {
        match self.is_trial() {
            true if self.tries_fewer => self.usual + 1,
            true => self.usual - 1,
            false => self.usual,
        }
    }

    /// How often it is halved for steps outside of trials.
    pub(super) fn usual_halvings(&self) -> u32 {
        self.usual
    }

    fn is_trial(&self) -> bool {
        self.most > 0 && self.step > self.period
    }

    /// Adds the duration of a part of the current step.
    pub(super) fn add(&mut self, took: Duration) {
        self.step_took += took;
    }

    /// Starts the next step.
    pub(super) fn advance(&mut self) {
        let took = std::mem::take(&mut self.step_took);
        if self.is_trial() {
            self.trial.push(took);
            let has_lost = self.has_lost();
            if has_lost || self.step == self.period + TRIAL {
                self.decide(has_lost);
            }
        } else if self.step > 0 && self.step + WINDOW > self.period {
            self.before.push(took);
        }
        self.step += 1;
    }

    /// Whether the trial can no longer win. It ends as soon as it has used the time of a whole
    /// trial, so a far slower number of threads costs little.
    fn has_lost(&self) -> bool {
        let (before, count) = middle(&self.before);
        let (before, trial) = (before * (TRIAL - 2), middle(&self.trial).0 * count);
        // All halvings together may cost a tenth of the time.
        let slower = (10.0f64 / 9.0).powf(1.0 / f64::from(self.most));
        match self.tries_fewer {
            true => trial >= before.mul_f64(slower),
            false => trial.mul_f64(slower) >= before,
        }
    }

    /// Ends a trial. The next one after a loss is in the other direction, if there is one.
    fn decide(&mut self, has_lost: bool) {
        if has_lost {
            self.period = (4 * self.period).min(LONGEST);
            self.tries_fewer ^= true;
        } else {
            self.usual = self.halvings();
            self.period = SHORTEST;
        }
        self.tries_fewer = match self.usual {
            0 => true,
            usual if usual == self.most => false,
            _ => self.tries_fewer,
        };
        (self.step, self.before, self.trial) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of threads of each step, given their number and the microseconds of a step on so
    /// many.
    fn numbers(threads: usize, steps: u64, took: impl Fn(u64, usize) -> u64) -> Vec<usize> {
        let mut pace = Pace::new(threads);
        let step = |step| {
            pace.advance();
            let threads = threads >> pace.halvings();
            pace.add(Duration::from_micros(took(step, threads)));
            threads
        };
        (0..steps).map(step).collect()
    }

    /// Which steps of two threads run on one, given the milliseconds of a step alone and together.
    fn course(steps: u64, took: impl Fn(u64) -> [u64; 2]) -> Vec<bool> {
        let took = |step, threads| 1000 * took(step)[threads - 1];
        numbers(2, steps, took).into_iter().map(|threads| threads == 1).collect()
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

    /// Work with a part that does not scale and a cost per thread, fastest on `best` threads.
    #[test]
    fn the_fastest_number_is_found() {
        for (overhead, best) in [(0, 16), (10, 8), (30, 4), (150, 2), (2000, 1)] {
            let took = |_, threads: usize| 1000 / threads as u64 + overhead * threads as u64;
            let numbers = numbers(16, 3000, took);
            let found = numbers[500..].iter().filter(|threads| **threads == best).count();
            assert!(found > 2300, "{overhead}: {found} steps on {best}, {:?}", &numbers[..60]);
        }
    }

    #[test]
    fn more_threads_are_used_again_when_they_help() {
        let took = |step, threads| match step {
            ..3000 => 100 * threads as u64,
            _ => 10_000 / threads as u64,
        };
        let numbers = numbers(12, 9000, took);
        assert!(numbers[1500..3000].iter().filter(|threads| **threads == 1).count() > 1400);
        assert!(numbers[6000..].iter().filter(|threads| **threads == 12).count() > 2800);
    }

    #[test]
    fn one_thread_stays_one() {
        assert!(numbers(1, 100, |_, _| 1).iter().all(|threads| *threads == 1));
    }
}
