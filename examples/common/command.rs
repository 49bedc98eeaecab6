//! The command of a run.

/// Returns the command that runs an example with the arguments of this process.
pub fn command(example: &str) -> String {
    let mut command = format!("cargo run --release --example {example}");
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    if !arguments.is_empty() {
        command.push_str(" --");
    }
    for argument in arguments {
        command.push(' ');
        command.push_str(&quoted(&argument));
    }
    command
}

/// Quotes an argument for a shell if it needs to be.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.into(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}
