//! The servers that hold devices of a training.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::backend::server_of;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Line;

/// Pause between two looks at the servers.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a training may take to end by itself once a server is lost.
const GRACE: Duration = Duration::from_secs(5);

/// How long after a failure its server may be found lost.
const DELAY: Duration = Duration::from_secs(1);

/// Watches the servers of a run; none if all devices are of this machine.
pub(in crate::train) struct Servers {
    lines: Vec<Line>,
    timeout: Duration,
}

impl Servers {
    /// Connects to the servers of some devices.
    ///
    /// # Errors
    /// If one does not answer within the timeout.
    pub(in crate::train) fn of(devices: &[Device], timeout: Duration) -> Result<Self> {
        let mut urls = devices.iter().filter_map(server_of).collect::<Vec<_>>();
        urls.sort();
        urls.dedup();
        let lines = urls.iter().map(|url| Line::open(url, timeout)).collect::<Result<_>>()?;
        Ok(Self { lines, timeout })
    }

    /// Runs a part of a training. With servers it has a thread of its own, because Burn waits for a frozen
    /// server without end and panics without a server.
    ///
    /// # Errors
    /// If the part panics or if a server is lost. `stop` is called in the latter case; then a part that
    /// does not end by itself soon is left behind.
    pub(in crate::train) fn attend<R: Send + 'static>(
        &mut self,
        stop: impl FnOnce(),
        part: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        if self.lines.is_empty() {
            return Ok(part());
        }
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(catch_unwind(AssertUnwindSafe(part))).ok());
        loop {
            match receiver.recv_timeout(PAUSE) {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(panic)) => return Err(self.lost().unwrap_or_else(|| panicked(&*panic))),
                Err(RecvTimeoutError::Disconnected) => return Err(panicked(&())),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(lost) = self.check() {
                stop();
                receiver.recv_timeout(GRACE).ok();
                return Err(lost);
            }
        }
    }

    /// Looks for a lost server after a failure.
    pub(super) fn lost(&mut self) -> Option<Error> {
        let start = Instant::now();
        while !self.lines.is_empty() && start.elapsed() < DELAY {
            if let Err(lost) = self.check() {
                return Some(lost);
            }
            std::thread::sleep(PAUSE);
        }
        None
    }

    /// Adds to a failure of Burn's what to do if all servers answer. A server keeps its connection to
    /// another one that has ended, and fails with it from then on.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Training if !self.lines.is_empty() => {
                error.and("if servers have lost one another, all must be started again")
            }
            _ => error,
        }
    }

    fn check(&mut self) -> Result<()> {
        self.lines.iter_mut().try_for_each(|line| line.check(self.timeout))
    }
}

/// Makes an error of a panic's message.
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Error::new(ErrorKind::Training, format!("a training on servers panicked: {text}"))
}
