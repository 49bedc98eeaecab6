//! A function that sees each epoch and its model.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, ErrorKind, Result};
use crate::train::store::Epoch;

pub(in crate::train) type Observe<M> = Box<dyn FnMut(&Epoch, &M) -> Result<()> + Send>;

/// Calls an observer. A panic becomes an error: Burn's thread for checkpoints, which calls, does not
/// survive one.
pub(super) fn show<M>(observe: &mut Observe<M>, epoch: &Epoch, model: &M) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| observe(epoch, model))).unwrap_or_else(|panic| {
        let (epoch, message) = (epoch.epoch, text(&*panic));
        let message = format!("the observer of epoch {epoch} panicked: {message}");
        Err(Error::new(ErrorKind::Training, message))
    })
}

/// The message of a panic.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
