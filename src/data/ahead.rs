//! Reads batches, and reads them ahead if that takes long.
//!
//! Examples in memory are copied in a few microseconds, which is not worth a thread. Where reading
//! takes more than a tenth of the time of an epoch, as with folders of images, the rest of the epoch
//! is read by threads of its own, one batch ahead of the training.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;

use super::Examples;
use crate::error::Result;

/// Number of batches after which the time that reading takes is known.
const KNOWN: u32 = 8;

/// What an epoch reads: the examples at `indices`, in order, in batches.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) examples: &'a Arc<dyn Examples>,
    /// `None` outside of training.
    pub(super) epoch: Option<u64>,
    pub(super) indices: &'a Arc<[usize]>,
    pub(super) batch_size: usize,
}

/// Reads the batches of an epoch in order.
pub(super) struct Reader {
    batches: u32,
    reading: Duration,
    start: Instant,
    ahead: Option<Ahead>,
}

/// A thread that reads ahead.
struct Ahead {
    /// `None` when the thread is told to end.
    batches: Option<Receiver<Result<Vec<f32>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { batches: 0, reading: Duration::ZERO, start: Instant::now(), ahead: None }
    }

    /// Returns the examples of the batch that begins with the index `first`.
    pub(super) fn read(&mut self, plan: Plan, first: usize) -> Result<Vec<f32>> {
        if self.ahead.is_none() && self.is_slow() {
            self.ahead = Ahead::start(plan, first);
        }
        if let Some(ahead) = &mut self.ahead {
            return ahead.receive();
        }
        let start = Instant::now();
        let rest = &plan.indices[first..];
        let values = read(&**plan.examples, plan.epoch, &rest[..rest.len().min(plan.batch_size)]);
        self.reading += start.elapsed();
        self.batches += 1;
        values
    }

    fn is_slow(&self) -> bool {
        self.batches == KNOWN && self.reading * 10 > self.start.elapsed()
    }
}

impl Ahead {
    /// Starts to read from the index `first` on. `None` if the system has no more threads.
    fn start(plan: Plan, first: usize) -> Option<Self> {
        let Plan { epoch, batch_size, .. } = plan;
        let (examples, indices) = (plan.examples.clone(), plan.indices.clone());
        // The threads of the caller's pool may all be waiting for their batches.
        let pool = ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
        let pool =
            pool.thread_name(|i| format!("examples {i}")).stack_size(8 << 20).build().ok()?;
        // The finished batch waits in the thread until it is asked for.
        let (sender, batches) = sync_channel(0);
        let work = move || {
            for rows in indices[first..].chunks(batch_size) {
                let values = pool.install(|| read(&*examples, epoch, rows));
                let is_last = values.is_err();
                if sender.send(values).is_err() || is_last {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("examples".into()).spawn(work).ok()?;
        Some(Self { batches: Some(batches), thread: Some(thread) })
    }

    fn receive(&mut self) -> Result<Vec<f32>> {
        let batch = self.batches.as_ref().and_then(|batches| batches.recv().ok());
        batch.unwrap_or_else(|| {
            // The thread only ends early by a panic of the examples, which goes on here.
            let panic = self.thread.take().and_then(|thread| thread.join().err());
            resume_unwind(panic.unwrap_or_else(|| Box::new("no more batches")))
        })
    }
}

/// Ends the thread when the epoch ends early.
impl Drop for Ahead {
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic while reading a batch that nobody wants has no further effect.
            let _ended = thread.join();
        }
    }
}

fn read(examples: &dyn Examples, epoch: Option<u64>, rows: &[usize]) -> Result<Vec<f32>> {
    let mut values = vec![0.0; rows.len() * examples.dim()];
    match epoch {
        Some(epoch) => examples.read_in(epoch, rows, &mut values)?,
        None => examples.read(rows, &mut values)?,
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    /// Examples that take a while to read; some fail or panic.
    #[derive(Default)]
    struct Slow {
        fails_at: Option<usize>,
        panics_at: Option<usize>,
        threads: Mutex<HashSet<thread::ThreadId>>,
        batches: AtomicUsize,
    }

    const LEN: usize = 103;

    impl Examples for Slow {
        fn len(&self) -> usize {
            LEN
        }

        fn dim(&self) -> usize {
            2
        }

        fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
            thread::sleep(Duration::from_micros(200));
            self.batches.fetch_add(1, Ordering::SeqCst);
            self.threads.lock().unwrap().insert(thread::current().id());
            for (row, &index) in out.chunks_exact_mut(2).zip(indices) {
                if self.fails_at == Some(index) {
                    return Err(Error::value(format!("example {index} is bad")));
                }
                assert!(self.panics_at != Some(index), "example {index} panics");
                row.fill(index as f32);
            }
            Ok(())
        }
    }

    /// Reads an epoch and returns the first value of each example.
    fn epoch(slow: Slow) -> (Result<Vec<f32>>, Arc<Slow>) {
        let slow = Arc::new(slow);
        let examples: Arc<dyn Examples> = slow.clone();
        let indices = (0..LEN).rev().collect::<Arc<[_]>>();
        let plan = Plan { examples: &examples, epoch: None, indices: &indices, batch_size: 4 };
        let mut reader = Reader::new();
        let batches = (0..LEN).step_by(4).map(|first| reader.read(plan, first));
        let values = batches.collect::<Result<Vec<_>>>();
        (values.map(|batches| batches.concat().into_iter().step_by(2).collect()), slow)
    }

    #[test]
    fn slow_examples_are_read_by_another_thread_in_the_same_order() {
        let (values, slow) = epoch(Slow::default());
        assert_eq!(values.unwrap(), (0..LEN).rev().map(|i| i as f32).collect::<Vec<_>>());
        assert!(slow.threads.lock().unwrap().len() > 1);
        assert_eq!(slow.batches.load(Ordering::SeqCst), LEN.div_ceil(4));
    }

    #[test]
    fn an_error_reaches_the_training() {
        for index in [LEN - 1, 3] {
            let (values, _) = epoch(Slow { fails_at: Some(index), ..Slow::default() });
            let message = values.unwrap_err().to_string();
            assert!(message.contains(&format!("example {index} is bad")), "{message}");
        }
    }

    #[test]
    #[should_panic(expected = "example 3 panics")]
    fn a_panic_reaches_the_training() {
        let _never = epoch(Slow { panics_at: Some(3), ..Slow::default() });
    }

    /// An epoch that ends early leaves no thread behind, so the examples are free again.
    #[test]
    fn the_thread_ends_with_the_epoch() {
        let slow = Arc::new(Slow::default());
        let examples: Arc<dyn Examples> = slow.clone();
        let indices = (0..LEN).collect::<Arc<[_]>>();
        let plan = Plan { examples: &examples, epoch: Some(3), indices: &indices, batch_size: 4 };
        let mut reader = Reader::new();
        for first in (0..10 * 4).step_by(4) {
            reader.read(plan, first).unwrap();
        }
        assert!(reader.ahead.is_some());
        drop((reader, examples));
        assert_eq!(Arc::strong_count(&slow), 1);
    }

    /// All threads of a pool wait for their batches, which are read by several threads.
    #[test]
    fn trainings_in_one_pool_do_not_wait_for_each_other() {
        use rayon::prelude::*;
        struct Split(Slow);
        impl Examples for Split {
            fn len(&self) -> usize {
                self.0.len()
            }
            fn dim(&self) -> usize {
                self.0.dim()
            }
            fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
                let rows = indices.par_iter().zip(out.par_chunks_exact_mut(2));
                rows.try_for_each(|(index, row)| self.0.read(&[*index], row))
            }
        }
        let epochs = rayon::broadcast(|_| {
            let examples: Arc<dyn Examples> = Arc::new(Split(Slow::default()));
            let indices = (0..LEN).collect::<Arc<[_]>>();
            let plan = Plan { examples: &examples, epoch: None, indices: &indices, batch_size: 4 };
            let mut reader = Reader::new();
            (0..LEN).step_by(4).map(|first| reader.read(plan, first).unwrap().len()).sum::<usize>()
        });
        assert!(epochs.iter().all(|values| *values == 2 * LEN));
    }

    #[test]
    fn examples_in_memory_have_no_thread() {
        let images = crate::data::ByteImages::new(vec![7; 100_000], [1, 1, 1]).unwrap();
        let examples: Arc<dyn Examples> = Arc::new(images);
        let indices = (0..100_000).collect::<Arc<[_]>>();
        let plan = Plan { examples: &examples, epoch: None, indices: &indices, batch_size: 10 };
        let mut reader = Reader::new();
        for first in (0..1000).step_by(10) {
            reader.read(plan, first).unwrap();
            thread::sleep(Duration::from_micros(500));
        }
        assert!(reader.ahead.is_none());
    }
}
