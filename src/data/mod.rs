//! Data sets, and how batches are made from them.
//!
//! | on disk | in memory | read on demand |
//! |---|---|---|
//! | MNIST, Fashion-MNIST, KMNIST, EMNIST | [`mnist::Mnist::read`] | |
//! | any IDX file of bytes | [`idx::read_images`] | |
//! | a folder of images | [`ImageFolder::load`] | [`ImageFolder`] |
//! | a table of numbers, such as CSV | [`Table`] | [`TableFile`] |
//! | anything else | [`ByteImages`], [`Table::new`] | your own [`Examples`] |
//!
//! [`Binarized`] samples binary pixels from grey values, as published results do. [`WithLabels`]
//! appends the class to each example, for conditional models. [`split_last`] and [`split_random`]
//! hold out a part of any data set. [`Scaling`] brings the columns of a table to a common range.

mod ahead;
mod binarized;
mod checked;
#[cfg(feature = "images")]
mod decode;
mod each;
#[cfg(feature = "images")]
mod folder;
mod gzip;
mod header;
pub mod idx;
mod images;
mod labels;
mod loader;
pub mod mnist;
mod protocol;
mod resident;
mod rows;
mod scaling;
mod subset;
mod table;

pub use binarized::Binarized;
pub(crate) use checked::Checked;
#[cfg(feature = "images")]
pub use folder::{Channels, Fit, ImageFolder};
pub use images::ByteImages;
pub use labels::WithLabels;
pub use loader::{Batch, BatchLoader};
pub use protocol::Protocol;
pub use rows::{Column, TableOptions};
pub use scaling::{Scaled, Scaling};
pub use subset::{HeldOut, Subset, split_last, split_random};
pub use table::{Table, TableFile};

use std::sync::Arc;

use crate::error::Result;

/// A set of examples, each a vector of `dim` values.
///
/// Implement it to train on your own data: in memory, memory-mapped, or read from files on demand.
/// One batch is read at a time, into memory that the caller owns; for a GPU, all examples at once if
/// they are [in memory](Self::is_fixed_in_memory).
///
/// On the CPU, training reads its batches on a rayon thread of the training's own pool. If reading
/// takes more than a tenth of an epoch's first batches, the others are read one batch ahead, in
/// another pool with as many threads. Code that waits there for other rayon work may wait for ever,
/// and thread-locals of the thread that called `fit` are out of reach. Images in memory or in files
/// and [`Binarized`] read on all threads of the pool. An implementation that reads from one of these
/// must not hold a lock or a thread-local borrow during the call, because the waiting thread may be
/// given other work.
pub trait Examples: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of an example.
    fn dim(&self) -> usize;

    /// Writes the examples at `indices` into `out`, one after the other.
    ///
    /// All `indices` are below [`len`](Self::len), and `out` has length
    /// `indices.len() * self.dim()`.
    ///
    /// # Errors
    /// If an example cannot be read. Training then stops and returns the error.
    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()>;

    /// Like [`read`](Self::read), in the given epoch of training, counted from 0. Override it for
    /// data that are drawn anew in each epoch, as with [`Binarized::each_epoch`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let _ = epoch;
        self.read(indices, out)
    }

    /// Whether all examples are in memory and the same in every epoch. If so, a GPU keeps a copy of
    /// them during a training instead of being sent each batch.
    fn is_fixed_in_memory(&self) -> bool {
        false
    }

    /// What the values are and how they were prepared.
    fn protocol(&self) -> Protocol {
        Protocol::AsMeasured
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper forwards every method")]
impl<T: Examples + ?Sized> Examples for Arc<T> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }

    fn dim(&self) -> usize {
        (**self).dim()
    }

    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()> {
        (**self).read(indices, out)
    }

    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        (**self).read_in(epoch, indices, out)
    }

    fn is_fixed_in_memory(&self) -> bool {
        (**self).is_fixed_in_memory()
    }

    fn protocol(&self) -> Protocol {
        (**self).protocol()
    }
}
