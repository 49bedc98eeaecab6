//! Threads that stay awake, where that pays.
//!
//! A training step of a small model is some thirty operations of 20 to 200 microseconds, each of which rayon
//! shares out. Asked from outside of its threads, each wakes one and sleeps until it is done; between two
//! operations they fall asleep again. In a team the whole step runs on one of the threads, and the others
//! look for work until it is over.
//!
//! If something else wants the processor, a step waits for threads that wait for the processor. So both ways are
//! tried from time to time, and what is faster is done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

/// How long a team waits for threads that may be busy with something else.
const PATIENCE: Duration = Duration::from_micros(100);

/// Steps of a trial.
const TRIAL: u64 = 16;

/// Steps from one pair of trials to the next.
const PERIOD: u64 = 1024;

/// Runs the steps of a training in all threads or in one.
///
/// The numbers that come out are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pace: Mutex<Pace>,
    /// One thread, which shares with nobody.
    alone: OnceLock<Option<ThreadPool>>,
    /// Calls to join a team that nobody has answered yet.
    unanswered: Arc<AtomicUsize>,
}

impl Crew {
    /// Runs what a step begins with.
    pub(crate) fn begin<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pace(Pace::advance);
        self.go_on(work)
    }

    /// Runs more of the same step.
    pub(crate) fn go_on<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if rayon::current_thread_index().is_some() {
            // A training within somebody's work on threads, who has decided on them.
            return work();
        }
        let start = Instant::now();
        let alone = self.pace(|pace| pace.is_alone()).then(|| self.alone()).flatten();
        let result = match alone {
            Some(pool) => pool.install(work),
            None => together(&self.0.unanswered, work),
        };
        self.pace(|pace| pace.step_took += start.elapsed());
        result
    }

    fn alone(&self) -> Option<&ThreadPool> {
        let pool = || ThreadPoolBuilder::new().num_threads(1).build().ok();
        self.0.alone.get_or_init(pool).as_ref()
    }

    fn pace<R>(&self, f: impl FnOnce(&mut Pace) -> R) -> R {
        f(&mut self.0.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What steps took, and what follows.
#[derive(Debug, Default)]
struct Pace {
    step: u64,
    step_took: Duration,
    /// What the steps of a trial took without the slowest of them, which may be of an epoch's end.
    together: Trial,
    alone: Trial,
}

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
    /// A period is a trial of one thread, a trial of all, and the winner for the rest. The first steps of a
    /// training are like no others, so the first period begins with some more.
    fn is_alone(&self) -> bool {
        match self.phase() {
            None => false,
            Some(phase) if phase < TRIAL => true,
            Some(phase) if phase < 2 * TRIAL => false,
            Some(_) => self.alone.sum < self.together.sum,
        }
    }

    fn phase(&self) -> Option<u64> {
        self.step.checked_sub(TRIAL).map(|step| step % PERIOD)
    }

    fn advance(&mut self) {
        let took = std::mem::take(&mut self.step_took);
        match self.phase() {
            Some(phase) if phase < TRIAL => self.alone.add(took),
            Some(phase) if phase < 2 * TRIAL => self.together.add(took),
            _ => {}
        }
        self.step += 1;
        if self.phase() == Some(0) {
            (self.alone, self.together) = Default::default();
        }
    }
}

/// Runs `work` on one of rayon's threads while the others wait for their share of it without sleeping; each
/// time they find none they let whatever else is ready have the processor.
///
/// A thread that is busy with something else is not waited for. If one has not answered for long, perhaps
/// because it waits for this very training, there is no team.
fn together<R: Send>(unanswered: &Arc<AtomicUsize>, work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| {
        let threads = rayon::current_num_threads();
        if unanswered.load(Ordering::SeqCst) > threads {
            return work();
        }
        let (team, leader) = (Arc::new(Team::default()), rayon::current_thread_index());
        unanswered.fetch_add(threads, Ordering::SeqCst);
        rayon::spawn_broadcast({
            let (team, unanswered) = (team.clone(), unanswered.clone());
            move |context| {
                unanswered.fetch_sub(1, Ordering::SeqCst);
                if Some(context.index()) != leader {
                    team.join();
                }
            }
        });
        team.gather(threads - 1);
        let _over = Over(&team);
        work()
    })
}

#[derive(Default)]
struct Team {
    members: AtomicUsize,
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

impl Team {
    /// Looks for work until the team's is over.
    ///
    /// A thread that comes when the work has begun goes its way. It may be within a share of that very
    /// work, which would wait for its own end.
    fn join(&self) {
        if self.has_begun.load(Ordering::SeqCst) {
            return;
        }
        self.members.fetch_add(1, Ordering::SeqCst);
        while !self.is_over.load(Ordering::SeqCst) {
            if rayon::yield_now() != Some(Yield::Executed) {
                thread::yield_now();
            }
        }
    }

    /// Waits for the other threads, not for long.
    fn gather(&self, others: usize) {
        let start = Instant::now();
        while self.members.load(Ordering::SeqCst) < others && start.elapsed() < PATIENCE {
            thread::yield_now();
        }
        self.has_begun.store(true, Ordering::SeqCst);
    }
}

/// Ends the team, also where its work panics: nobody may wait for ever.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn sum_of_squares(n: usize) -> usize {
        (0..n).into_par_iter().with_max_len(1).map(|i| i * i).sum()
    }

    fn team<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        together(&Arc::default(), work)
    }

    #[test]
    fn work_is_done_in_any_pool() {
        for threads in [1, 2, 5] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let inside = pool.install(|| team(|| team(|| sum_of_squares(1000))));
            assert_eq!(inside, 332_833_500, "{threads} threads");
        }
    }

    /// Teams of threads that are in the middle of others' work, many times over.
    #[test]
    fn teams_do_not_wait_for_each_other() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let unanswered = Arc::default();
                    for _ in 0..300 {
                        let work = || together(&unanswered, || sum_of_squares(1000));
                        assert_eq!(pool.install(work), 332_833_500);
                    }
                });
            }
        });
    }

    /// A thread of the pool that waits for the training is not waited for, and is not called for ever.
    #[test]
    fn a_thread_that_is_busy_is_left_alone() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        pool.spawn(move || assert!(wait.recv().is_err()));
        let unanswered = Arc::default();
        for _ in 0..50 {
            let work = || together(&unanswered, || sum_of_squares(1000));
            assert_eq!(pool.install(work), 332_833_500);
        }
        assert!(unanswered.load(Ordering::SeqCst) <= 2 * 2 + 1);
        drop(end);
    }

    #[test]
    fn a_panic_ends_the_team() {
        let panicked = std::panic::catch_unwind(|| team(|| panic!("of the work")));
        let message = panicked.unwrap_err();
        assert_eq!(message.downcast_ref::<&str>(), Some(&"of the work"));
    }

    #[test]
    fn what_is_faster_is_done() {
        // Milliseconds of a step alone and together, in three periods.
        let course = |took: [[u64; 2]; 3]| {
            let (mut pace, mut alone) = (Pace::default(), Vec::new());
            for step in 1..TRIAL + 3 * PERIOD {
                pace.advance();
                let period = (step.saturating_sub(TRIAL) / PERIOD) as usize;
                // Now and then one takes long.
                let took = match step % 50 {
                    20 => 1000,
                    _ => took[period][usize::from(!pace.is_alone())],
                };
                pace.step_took += Duration::from_millis(took);
                alone.push(pace.is_alone());
            }
            alone
        };
        let alone = course([[9, 5], [9, 10], [9, 5]]);
        // Steps of one thread in what follows the trials of a period.
        let after_trials = |period: u64| {
            let start = (TRIAL + period * PERIOD + 2 * TRIAL) as usize - 1;
            let rest = &alone[start..][..(PERIOD - 2 * TRIAL) as usize];
            (rest.iter().filter(|alone| **alone).count(), rest.len())
        };
        let [(first, _), (second, all), (third, _)] = [0, 1, 2].map(after_trials);
        assert_eq!([first, second, third], [0, all, 0]);
    }

    #[test]
    fn steps_run_in_threads_of_their_own() {
        let crew = Crew::default();
        let threads = |crew: &Crew| crew.begin(rayon::current_num_threads);
        let counts = (0..3 * TRIAL).map(|_| threads(&crew)).collect::<Vec<_>>();
        let trial = TRIAL as usize;
        assert!(counts[trial - 1..2 * trial - 1].iter().all(|count| *count == 1));
        assert!(counts[2 * trial - 1..3 * trial - 1].contains(&rayon::current_num_threads()));
        assert_eq!(crew.go_on(|| 3), 3);
    }
}
