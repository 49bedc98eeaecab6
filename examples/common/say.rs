//! Prints without panicking where nobody reads, as after `| head -1`, unlike `println!`.

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
