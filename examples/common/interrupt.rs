//! Ctrl-C: once to stop after the step under way, twice to stop at once.

use std::process::ExitCode;

use burn::train::Interrupter;
use burn_vae::{ErrorKind, Result};

/// What a shell expects of a program that Ctrl-C has stopped.
const INTERRUPTED: u8 = 130;

/// What a training is to be given so that Ctrl-C stops it.
pub fn by_ctrl_c() -> Interrupter {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let set = ctrlc::set_handler(move || {
        if handle.should_stop() {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\nstopping after this step; Ctrl-C again stops at once");
        handle.stop(Some("Ctrl-C"));
    });
    // Without a handler Ctrl-C does what it always did.
    set.unwrap_or_else(|error| eprintln!("Ctrl-C will stop at once: {error}"));
    interrupter
}

/// How a program ends.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            eprintln!("{error}; the same command with --resume goes on");
            INTERRUPTED.into()
        }
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
