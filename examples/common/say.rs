//! Printing that, unlike `println!`, does not panic if the reader is gone, as after `| head -1`.

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
