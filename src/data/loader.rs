use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::{Device, Tensor, TensorData};
use rand::seq::SliceRandom;

use super::ahead::{Plan, Reader};
use super::resident::{self, Resident};
use super::{Examples, Subset};
use crate::error::{Error, Result};
use crate::seed::Seed;

/// The input of a training or validation step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The examples, `[batch, dim]`.
    pub x: Tensor<2>,
    /// Number of this batch since the start of training; it seeds the noise.
    pub step: u64,
}

/// Burn's `DataLoader` over [`Examples`].
///
/// A batch costs one allocation. If the batch size does not divide the number of examples, the last
/// batch of an epoch is smaller, and no example is left out.
///
/// [`shuffled`](Self::shuffled) visits the examples of each epoch in an order that depends only on
/// the seed and the epoch. Each call of `iter` starts the next epoch. [`ordered`](Self::ordered)
/// visits them in their own order and numbers the batches from 0 each time, so two validations of
/// the same weights agree.
#[derive(Clone)]
pub struct BatchLoader {
    examples: Arc<dyn Examples>,
    batch_size: usize,
    order: Order,
    device: Device,
    resident: Resident,
}

enum Order {
    Own,
    Shuffled { seed: Seed, epoch: AtomicU64 },
}

/// A clone continues from the same epoch, independently.
impl Clone for Order {
    fn clone(&self) -> Self {
        match self {
            Self::Own => Self::Own,
            Self::Shuffled { seed, epoch } => {
                let epoch = epoch.load(Ordering::Relaxed).into();
                Self::Shuffled { seed: *seed, epoch }
            }
        }
    }
}

impl BatchLoader {
    /// Visits the examples in their own order.
    ///
    /// # Errors
    /// If there are no examples or the batch size is zero.
    pub fn ordered(
        examples: Arc<dyn Examples>,
        batch_size: usize,
        device: &Device,
    ) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::config("batch_size is 0, but it must be at least 1"));
        }
        if examples.is_empty() {
            return Err(Error::config("the data set holds no example"));
        }
        let (order, device) = (Order::Own, device.clone());
        Ok(Self { examples, batch_size, order, device, resident: Resident::default() })
    }

    /// Visits the examples in a new order in each epoch.
    ///
    /// # Errors
    /// If there are no examples or the batch size is zero.
    pub fn shuffled(
        examples: Arc<dyn Examples>,
        batch_size: usize,
        seed: impl Into<Seed>,
        device: &Device,
    ) -> Result<Self> {
        let order = Order::Shuffled { seed: seed.into(), epoch: AtomicU64::new(0) };
        Ok(Self { order, ..Self::ordered(examples, batch_size, device)? })
    }

    /// Returns a copy that counts `epochs` epochs as done. The next epoch has the order and the
    /// step numbers that it has in a run from the start.
    pub fn after(self, epochs: usize) -> Self {
        let order = match self.order {
            Order::Own => Order::Own,
            Order::Shuffled { seed, .. } => {
                Order::Shuffled { seed, epoch: AtomicU64::new(epochs as u64) }
            }
        };
        Self { order, ..self }
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        self.examples.len().div_ceil(self.batch_size)
    }

    /// The batches of the next epoch.
    pub fn epoch(&self) -> Batches<'_> {
        let mut indices = (0..self.examples.len()).collect::<Vec<_>>();
        let (epoch, step) = match &self.order {
            Order::Own => (None, 0),
            Order::Shuffled { seed, epoch } => {
                let epoch = epoch.fetch_add(1, Ordering::Relaxed);
                indices.shuffle(&mut seed.at(epoch).rng());
                (Some(epoch), epoch * self.batches() as u64)
            }
        };
        Batches { loader: self, epoch, indices: indices.into(), next: 0, step, source: None }
    }
}

/// The batches of one epoch; see [`BatchLoader::epoch`].
pub struct Batches<'a> {
    loader: &'a BatchLoader,
    /// `None` if the examples are in their own order, as in evaluation.
    epoch: Option<u64>,
    indices: Arc<[usize]>,
    next: usize,
    step: u64,
    /// `None` before the first batch.
    source: Option<Source>,
}

/// Where batches come from.
enum Source {
    Host(Reader),
    Device(Box<resident::Order>),
}

impl Batches<'_> {
    /// Returns the examples of the next batch, `[rows, dim]`.
    fn read(&mut self, rows: usize) -> Result<Tensor<2>> {
        let BatchLoader { examples, batch_size, device, resident, .. } = self.loader;
        let source = match &mut self.source {
            Some(source) => source,
            unknown => unknown.insert(
                match resident.order(&**examples, &self.indices, *batch_size, device)? {
                    Some(order) => Source::Device(Box::new(order)),
                    None => Source::Host(Reader::new()),
                },
            ),
        };
        match source {
            Source::Device(order) => Ok(order.batch(self.next, rows)),
            Source::Host(reader) => {
                let (epoch, indices) = (self.epoch, &self.indices);
                let plan = Plan { examples, epoch, indices, batch_size: *batch_size };
                let values = reader.read(plan, self.next)?;
                let shape = [rows, examples.dim()];
                Ok(Tensor::from_data(TensorData::new::<f32, _>(values, shape), device))
            }
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.indices.len() {
            return None;
        }
        let rows = self.loader.batch_size.min(self.indices.len() - self.next);
        let x = match self.read(rows) {
            Ok(x) => x,
            Err(error) => {
                self.next = self.indices.len();
                return Some(Err(DatasetError::new(error)));
            }
        };
        let batch = Batch { x, step: self.step };
        self.next += rows;
        self.step += 1;
        Some(Ok(batch))
    }
}

impl DataLoaderIterator<Batch> for Batches<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.next, self.indices.len(), Some("examples".into()))
    }
}

impl DataLoader<Batch> for BatchLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch> + 'a> {
        Box::new(self.epoch())
    }

    fn num_items(&self) -> usize {
        self.examples.len()
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<Batch>> {
        let device = device.clone();
        Arc::new(Self { device, resident: Resident::default(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Batch>> {
        // Burn splits a data set over several devices; with few examples some get none.
        let examples = Arc::new(Subset::unchecked(self.examples.clone(), start..end));
        Arc::new(Self { examples, resident: Resident::default(), ..self.clone() })
    }
}
