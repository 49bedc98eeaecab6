//! Ctrl-C: the first stops the training after the current step, the second ends the program.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_vae::train::Interrupter;
use burn_vae::{ErrorKind, Result};

/// The exit code that a shell expects after Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Turns Ctrl-C into a request to stop the training that has the interrupter, until released.
pub struct CtrlC {
    interrupter: Interrupter,
    is_over: Arc<AtomicBool>,
}

impl CtrlC {
    pub fn catch() -> Self {
        let (interrupter, is_over) = (Interrupter::new(), Arc::new(AtomicBool::new(false)));
        let (request, over) = (interrupter.clone(), is_over.clone());
        let set = ctrlc::set_handler(move || {
            if request.should_stop() || over.load(Ordering::Relaxed) {
                std::process::exit(INTERRUPTED.into());
            }
            warn!("\nstopping after this step; Ctrl-C again stops at once");
            request.stop(Some("Ctrl-C"));
        });
        // Without a handler, Ctrl-C ends the program.
        set.unwrap_or_else(|error| warn!("Ctrl-C will stop at once: {error}"));
        Self { interrupter, is_over }
    }

    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// From now on, Ctrl-C ends the program.
    pub fn release(self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Returns the exit code of a program's result and prints its error.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            warn!("{error}; resume it with --resume");
            INTERRUPTED.into()
        }
        Err(error) => {
            warn!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
