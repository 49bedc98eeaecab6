//! Data sets and how batches are made of them.
//!
//! | what lies on disk | in memory | read as needed |
//! |---|---|---|
//! | MNIST, Fashion-MNIST, KMNIST, EMNIST | [`mnist::Mnist::read`] | |
//! | any IDX file of bytes | [`idx::read_images`] | |
//! | a folder of images | [`ImageFolder::load`] | [`ImageFolder`] |
//! | a table of numbers, such as CSV | [`Table`] | [`TableFile`] |
//! | anything else | [`ByteImages`], [`Table::new`] | your own [`Examples`] |
//!
//! [`Binarized`] makes bits of grey values, as the likelihoods in papers are of. [`WithLabels`] puts the
//! class behind each example, for conditional models. [`split_last`] and [`split_random`] hold out a part of any of them, [`Scaling`] brings the columns
//! of a table to a common range.

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

/// A set of examples, each a vector of `dim` numbers.
///
/// Implement it to train on your own data: in memory, mapped, or read from files as needed. It is
/// asked for a batch at a time, into memory that the caller owns.
///
/// On `flex` a training reads its batches on a rayon thread of its own: what waits there for other work of
/// rayon may wait for ever, and what belongs to the thread that called `fit` is out of reach. Images in memory or in
/// files and [`Binarized`] are read by all of rayon's threads: a set of your own that reads from one must
/// hold no lock and no thread-local borrow meanwhile, since the thread may be given other work while it waits.
pub trait Examples: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of an example.
    fn dim(&self) -> usize;

    /// Writes the examples at `indices` into `out`, one after the other.
    ///
    /// `indices` are below [`len`](Self::len), and `out` has the length
    /// `indices.len() * self.dim()`.
    ///
    /// # Errors
    /// If an example cannot be read. Training then stops and hands the error on.
    fn read(&self, indices: &[usize], out: &mut [f32]) -> Result<()>;

    /// The same in an epoch of a training, counted from 0, for data that are drawn anew in each, such
    /// as [`Binarized::each_epoch`].
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_in(&self, epoch: u64, indices: &[usize], out: &mut [f32]) -> Result<()> {
        let _ = epoch;
        self.read(indices, out)
    }

    /// What the numbers are.
    fn protocol(&self) -> Protocol {
        Protocol::AsMeasured
    }
}

#[warn(clippy::missing_trait_methods, reason = "a wrapper hands on everything")]
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

    fn protocol(&self) -> Protocol {
        (**self).protocol()
    }
}
