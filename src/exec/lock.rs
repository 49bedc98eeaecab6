use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex and ignores poisoning; no panic may leave the data half changed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
