//! Lines for whoever runs the program. Nobody may be reading any more, as after `| head -1`, which is no reason
//! to stop: unlike `println!` and `eprintln!` these do not panic.

/// Prints a line on standard output.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stdout(), $($text)*).ok();
    }};
}

/// Prints a line on standard error.
#[allow(unused_macros)]
macro_rules! warn {
    ($($text:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stderr(), $($text)*).ok();
    }};
}
