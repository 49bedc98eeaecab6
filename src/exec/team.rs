//! Threads that stay awake, where that pays.
//!
//! A training step of a small model is some thirty operations of 20 to 200 microseconds, each of which rayon
//! shares out. Asked from outside of its threads, each wakes one and sleeps until it is done; between two
//! operations they fall asleep again. So a training runs on one of a pool of its own, and during its steps, and for a
//! moment after each, the others look for work.
//!
//! If something else wants the processor, a step waits for threads that wait for the processor. So steps in one
//! thread are [tried](super::pace) from time to time.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

use super::lock::lock;
use super::pace::Pace;

/// How long a team waits for threads that may be busy with something else.
const PATIENCE: Duration = Duration::from_micros(100);

/// How long its members wait for the next piece of work: longer than from one step to another, where examples lie in
/// memory.
const LINGER: Duration = Duration::from_millis(1);

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
    team: Arc<Team>,
    /// Whether the threads are this training's own.
    is_gathered: AtomicBool,
}

impl Crew {
    /// Runs a training on as many threads as rayon has here, which are its own.
    ///
    /// It stays on one of them, so that most memory is freed where it was allocated. A training within somebody's
    /// work on threads stays there: they have decided on them.
    pub(crate) fn gather<R: Send>(&self, training: impl FnOnce() -> R + Send) -> R {
        if rayon::current_thread_index().is_some() {
            return training();
        }
        let threads = rayon::current_num_threads();
        let pool = pool(threads, |i| format!("training {i}"));
        let Some(pool) = pool else { return training() };
        self.0.is_gathered.store(true, Ordering::SeqCst);
        pool.install(training)
    }

    /// Runs what a step begins with.
    pub(crate) fn begin<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pace(Pace::advance);
        self.go_on(work)
    }

    /// Runs more of the same step.
    pub(crate) fn go_on<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let start = Instant::now();
        let result = self.run(self.pace(|pace| pace.is_alone()), work);
        self.pace(|pace| pace.add(start.elapsed()));
        result
    }

    /// Runs what is part of no step.
    pub(crate) fn run_apart<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.run(self.pace(|pace| pace.is_alone_usual()), work)
    }

    fn run<R: Send>(&self, is_alone: bool, work: impl FnOnce() -> R + Send) -> R {
        if !self.0.is_gathered.load(Ordering::SeqCst) || rayon::current_num_threads() == 1 {
            return work();
        }
        let alone = || self.0.alone.get_or_init(|| pool(1, |_| "training alone".into())).as_ref();
        match is_alone.then(alone).flatten() {
            Some(alone) => alone.install(work),
            None => Team::lead(&self.0.team, work),
        }
    }

    fn pace<R>(&self, f: impl FnOnce(&mut Pace) -> R) -> R {
        f(&mut lock(&self.0.pace))
    }
}

/// So many threads, as deep as a program's first, or none if the system has no more.
fn pool(threads: usize, name: impl FnMut(usize) -> String + 'static) -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name);
    pool.stack_size(8 << 20).build().ok()
}

thread_local! {
    /// Whether this thread looks for work already. The call of others may find it doing so.
    static IS_MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// Threads that wait for their share of a work without sleeping.
///
/// Each time they find none they let whatever else is ready have the processor.
#[derive(Debug, Default)]
struct Team {
    members: AtomicUsize,
    /// Calls to join that nobody has answered yet.
    unanswered: AtomicUsize,
    is_open: AtomicBool,
    is_at_work: AtomicBool,
}

impl Team {
    /// Runs `work` on one of rayon's threads, the others being its team.
    ///
    /// A thread that is busy with something else, such as what a data set has spawned, is not waited for; if it has
    /// not answered for long it is not called again. The threads are to be a training's own: a member looks for work
    /// for as long as there is some, whoever it is of.
    fn lead<R: Send>(team: &Arc<Self>, work: impl FnOnce() -> R + Send) -> R {
        rayon::scope(|_| {
            team.call();
            team.is_at_work.store(true, Ordering::SeqCst);
            let _over = Over(team);
            work()
        })
    }

    /// Calls the other threads, unless they are still there, and waits for them, not for long.
    fn call(self: &Arc<Self>) {
        let (threads, leader) = (rayon::current_num_threads(), rayon::current_thread_index());
        let is_complete = || self.members.load(Ordering::SeqCst) >= threads - 1;
        if is_complete() || self.unanswered.load(Ordering::SeqCst) > threads {
            return;
        }
        self.unanswered.fetch_add(threads - 1, Ordering::SeqCst);
        self.is_open.store(true, Ordering::SeqCst);
        rayon::spawn_broadcast({
            let team = self.clone();
            move |context| {
                if Some(context.index()) != leader {
                    team.unanswered.fetch_sub(1, Ordering::SeqCst);
                    team.join();
                }
            }
        });
        let start = Instant::now();
        while !is_complete() && start.elapsed() < PATIENCE {
            thread::yield_now();
        }
        self.is_open.store(false, Ordering::SeqCst);
    }

    /// Looks for work until there has been none for some time.
    ///
    /// A thread that comes when the work has begun goes its way. It may be within a share of that very
    /// work, which would wait for its own end.
    fn join(&self) {
        if !self.is_open.load(Ordering::SeqCst) || IS_MEMBER.replace(true) {
            return;
        }
        self.members.fetch_add(1, Ordering::SeqCst);
        let mut idle_since = None;
        loop {
            let has_worked = rayon::yield_now() == Some(Yield::Executed);
            if has_worked || self.is_at_work.load(Ordering::SeqCst) {
                idle_since = None;
            } else if idle_since.get_or_insert_with(Instant::now).elapsed() > LINGER {
                break;
            }
            if !has_worked {
                thread::yield_now();
            }
        }
        self.members.fetch_sub(1, Ordering::SeqCst);
        IS_MEMBER.set(false);
    }
}

/// Ends the work of a team, also where it panics: nobody may wait for ever.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_at_work.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::SHORTEST;
    use super::*;
    use rayon::prelude::*;

    fn sum_of_squares(n: usize) -> usize {
        (0..n).into_par_iter().with_max_len(1).map(|i| i * i).sum()
    }

    fn team<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        Team::lead(&Arc::default(), work)
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
                    let team = Arc::default();
                    for _ in 0..300 {
                        let work = || Team::lead(&team, || sum_of_squares(1000));
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
        let team = Arc::default();
        for _ in 0..50 {
            let work = || Team::lead(&team, || sum_of_squares(1000));
            assert_eq!(pool.install(work), 332_833_500);
        }
        assert!(team.unanswered.load(Ordering::SeqCst) <= 2 * 2 + 1);
        drop(end);
    }

    #[test]
    fn a_panic_ends_the_team() {
        let panicked = std::panic::catch_unwind(|| team(|| panic!("of the work")));
        let message = panicked.unwrap_err();
        assert_eq!(message.downcast_ref::<&str>(), Some(&"of the work"));
    }

    #[test]
    fn steps_run_in_threads_of_their_own() {
        let crew = Crew::default();
        let threads = |_| crew.begin(rayon::current_num_threads);
        let all = rayon::current_num_threads();
        let counts = crew.gather(|| (0..=SHORTEST).map(threads).collect::<Vec<_>>());
        // At first in all, then a trial of one.
        let (one, usual) = counts.split_last().unwrap();
        assert!(usual.iter().all(|count| *count == all) && *one == 1, "{counts:?}");
        assert_eq!(crew.run_apart(rayon::current_num_threads), all);
        assert_eq!(crew.go_on(|| 3), 3);
    }
}
