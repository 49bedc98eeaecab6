//! Invalid input gives an error that says what was wrong and where, and no panic.

mod data;
mod files;
mod models;
mod runs;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn_vae::{Error, ErrorKind};

/// An invalid input, with the kind and the text of the error that it must cause.
struct Row {
    what: &'static str,
    kind: ErrorKind,
    message: &'static str,
    call: Box<dyn Fn() -> Option<Error>>,
}

/// A row. The call returns a `Result`, and the message is part of the error's text.
fn row<T, E: Into<Error>>(
    what: &'static str,
    kind: ErrorKind,
    message: &'static str,
    call: impl Fn() -> Result<T, E> + 'static,
) -> Row {
    Row { what, kind, message, call: Box::new(move || call().err().map(Into::into)) }
}

#[test]
fn bad_input_gets_an_answer() {
    let tables = [models::rows(), runs::rows(), data::rows(), files::rows()];
    let rows = tables.into_iter().flatten().collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for Row { what, kind, message, call } in &rows {
        let found = match catch_unwind(AssertUnwindSafe(call)) {
            Err(_) => "a panic".to_string(),
            Ok(None) => "no error".to_string(),
            Ok(Some(error))
                if error.kind() == *kind
                    && !message.is_empty()
                    && error.to_string().contains(message) =>
            {
                continue;
            }
            Ok(Some(error)) => format!("{error:?}"),
        };
        wrong.push(format!("{what}:\n  found  {found}\n  wanted {message} ({kind:?} error)"));
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let expected = if cfg!(unix) { 219 } else { 207 };
    assert_eq!(rows.len(), expected, "docs/reliability.md says how many rows there are");
}
