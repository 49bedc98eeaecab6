//! Threads that stay awake while that pays.
//!
//! A training step of a small model consists of about thirty operations of 20 to 200 microseconds,
//! which rayon splits among its threads. If called from outside its pool, each operation wakes a
//! thread and sleeps until it is done, and between operations the threads fall asleep again. A
//! training therefore runs on a thread of its own pool. During a step, and for a moment after it,
//! the other threads keep looking for work.
//!
//! If another program needs the processor, a step waits for threads that wait for the processor, and
//! small steps are not worth many threads. Steps on fewer threads are therefore
//! [tried](super::pace) periodically.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder, Yield};

use super::lock::lock;
use super::pace::Pace;

/// How long to wait for threads that may be busy with something else.
const PATIENCE: Duration = Duration::from_micros(100);

/// How long a member waits for more work: longer than the gap between two steps with examples in
/// memory.
const LINGER: Duration = Duration::from_millis(1);

/// Runs the steps of a training on all threads or on some.
///
/// The results are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew(Arc<OnceLock<Gathered>>);

/// The threads of a training: all, half of them, a quarter and so on.
#[derive(Debug)]
struct Gathered {
    pace: Mutex<Pace>,
    squads: Vec<Squad>,
}

#[derive(Debug)]
struct Squad {
    threads: usize,
    /// The pool of the training itself if there is none.
    pool: OnceLock<Option<ThreadPool>>,
    team: Arc<Team>,
}

impl Gathered {
    fn new(threads: usize) -> Self {
        let squad = |halvings: u32| Squad {
            threads: threads >> halvings,
            pool: if halvings == 0 { OnceLock::from(None) } else { OnceLock::new() },
            team: Arc::default(),
        };
        let most = threads.max(1).ilog2();
        Self { pace: Mutex::new(Pace::new(threads)), squads: (0..=most).map(squad).collect() }
    }
}

impl Squad {
    fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let threads = self.threads;
        let pool = || pool(threads, move |i| format!("training {i} of {threads}"));
        match self.pool.get_or_init(pool) {
            Some(pool) => pool.install(|| Team::lead(&self.team, work)),
            None => Team::lead(&self.team, work),
        }
    }
}

impl Crew {
    /// Runs a training on its own threads, as many as rayon has here.
    ///
    /// The training stays on one of them, so most memory is freed where it was allocated. If the
    /// caller is already on a rayon thread, the training runs there, because the caller has chosen
    /// its threads.
    pub(crate) fn gather<R: Send>(&self, training: impl FnOnce() -> R + Send) -> R {
        if rayon::current_thread_index().is_some() {
            return training();
        }
        let threads = rayon::current_num_threads();
        let pool = pool(threads, |i| format!("training {i}"));
        let Some(pool) = pool else { return training() };
        self.0.get_or_init(|| Gathered::new(threads));
        pool.install(training)
    }

    /// Starts a step and runs its first part.
    pub(crate) fn begin<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if let Some(gathered) = self.0.get() {
            lock(&gathered.pace).advance();
        }
        self.go_on(work)
    }

    /// Runs another part of the same step.
    pub(crate) fn go_on<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Some(Gathered { pace, squads }) = self.0.get() else { return work() };
        let halvings = lock(pace).halvings();
        let start = Instant::now();
        let result = squads[halvings as usize].run(work);
        lock(pace).add(start.elapsed());
        result
    }

    /// Runs work that is not part of a step.
    pub(crate) fn run_apart<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Some(Gathered { pace, squads }) = self.0.get() else { return work() };
        let halvings = lock(pace).usual_halvings();
        squads[halvings as usize].run(work)
    }
}

/// Creates a pool with the stack size of a program's main thread, or `None` if the system has no
/// more threads.
fn pool(threads: usize, name: impl FnMut(usize) -> String + 'static) -> Option<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name);
    pool.stack_size(8 << 20).build().ok()
}

thread_local! {
    /// Whether this thread is already looking for work; a call may reach it while it does.
    static IS_MEMBER: Cell<bool> = const { Cell::new(false) };
}

/// Threads that wait for their share of the work without sleeping.
///
/// If they find none, they yield the processor.
#[derive(Debug, Default)]
struct Team {
    members: AtomicUsize,
    /// Number of unanswered calls to join.
    unanswered: AtomicUsize,
    is_open: AtomicBool,
    is_at_work: AtomicBool,
}

impl Team {
    /// Runs `work` on one of rayon's threads, with the others as its team.
    ///
    /// It does not wait for a thread that is busy with something else, such as work spawned by a
    /// data set, and stops calling a thread that does not answer for long. The threads must belong
    /// to the training: a member runs any work it finds, whoever spawned it.
    fn lead<R: Send>(team: &Arc<Self>, work: impl FnOnce() -> R + Send) -> R {
        rayon::scope(|_| {
            team.call();
            team.is_at_work.store(true, Ordering::SeqCst);
            let _over = Over(team);
            work()
        })
    }

    /// Calls the other threads unless they are still there, and waits briefly for them.
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
    /// A thread that arrives after the work has begun leaves again: it may be inside a share of
    /// that very work, which would then wait for itself.
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

/// Ends the work of a team, also on a panic, so that no thread waits for ever.
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

    /// Teams whose threads are in the middle of other teams' work, many times over.
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

    /// A pool thread that waits for the training is not waited for, and is not called for ever.
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
    fn steps_run_on_their_own_threads() {
        let crew = Crew::default();
        let threads = |_| crew.begin(rayon::current_num_threads);
        let all = rayon::current_num_threads();
        let counts = crew.gather(|| (0..=SHORTEST).map(threads).collect::<Vec<_>>());
        // On all threads at first, then a trial on half of them.
        let (half, usual) = counts.split_last().unwrap();
        let expected = if all == 1 { 1 } else { all / 2 };
        assert!(usual.iter().all(|count| *count == all) && *half == expected, "{counts:?}");
        assert_eq!(crew.run_apart(rayon::current_num_threads), all);
        assert_eq!(crew.go_on(|| 3), 3);
    }
}
