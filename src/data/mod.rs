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
//! [`split_last`] and [`split_random`] hold out a part of any of them, [`Scaling`] brings the columns
//! of a table to a common range.

mod folder;
mod gzip;
pub mod idx;
mod images;
mod loader;
pub mod mnist;
mod rows;
mod scaling;
mod subset;
mod table;

pub use folder::{Channels, Fit, ImageFolder};
pub use images::ByteImages;
pub use loader::{Batch, BatchLoader};
pub use rows::{Column, TableOptions};
pub use scaling::{Scaled, Scaling};
pub use subset::{HeldOut, Subset, split_last, split_random};
pub use table::{Table, TableFile};

use crate::Result;

/// A set of examples, each a vector of `dim` numbers.
///
/// Implement it to train on your own data: in memory, mapped, or read from files as needed. It is
/// asked for a batch at a time, into memory that the caller owns.
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
}
