use burn::module::{Module, RunningState};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use rand::RngExt;
use rand::seq::index;

use super::table::nearest;
use super::vector::{CodeGradient, VectorQuantizedFamily};
use super::{CodeTable, Quantized};
use crate::error::{Error, Result};
use crate::math::gradient_of;
use crate::phase::Phase;
use crate::seed::Seed;

/// Iterations of k-means, as in other implementations.
const ITERATIONS: usize = 10;

/// Laplace smoothing of the counts, as in the authors' code.
const SMOOTHING: f64 = 1e-5;

/// A codebook of vectors that follows the features it quantises; see [`VectorQuantizedFamily`].
///
/// The vectors are not trained by gradients. In training, each vector is the moving average of the
/// features that were nearest to it (van den Oord et al. 2017, appendix A.1). The first batch sets
/// them by k-means. A vector that hardly any feature is nearest to is replaced by a feature of the
/// batch.
#[derive(Module, Debug)]
pub struct VectorQuantizer {
    tables: Vec<Table>,
    #[module(skip)]
    family: VectorQuantizedFamily,
}

/// The vectors of one quantiser.
#[derive(Module, Debug)]
struct Table {
    /// `[codes, columns]`
    codes: RunningState<Tensor<2>>,
    /// Moving averages of the sums of the features that are nearest to each vector,
    /// `[codes, columns]`.
    sums: RunningState<Tensor<2>>,
    /// Moving averages of the numbers of these features, `[codes]`; zero before training.
    counts: RunningState<Tensor<1>>,
}

impl VectorQuantizer {
    /// Creates a codebook with random vectors, `U(-1/codes, 1/codes)`; training starts from others.
    ///
    /// # Errors
    /// If a field of the family is out of range.
    pub fn new(family: VectorQuantizedFamily, seed: Seed, device: &Device) -> Result<Self> {
        family.check()?;
        let VectorQuantizedFamily { codes, columns, quantizers, .. } = family;
        let table = |i: usize| {
            let (mut rng, limit) = (seed.child("codes").at(i as u64).rng(), 1.0 / codes as f32);
            let draws = (0..codes * columns).map(|_| rng.random_range(-limit..limit)).collect();
            let draws = TensorData::new::<f32, _>(draws, [codes, columns]);
            Table {
                codes: RunningState::new(Tensor::from_data(draws, device)),
                sums: RunningState::new(Tensor::zeros([codes, columns], device)),
                counts: RunningState::new(Tensor::zeros([codes], device)),
            }
        };
        Ok(Self { tables: (0..quantizers).map(table).collect(), family })
    }

    /// Replaces the codebook. Training moves its vectors and does not begin with k-means.
    ///
    /// # Errors
    /// If the codebook has another number of quantisers, codes or columns.
    pub fn starting_from(self, codebook: &CodeTable) -> Result<Self> {
        let VectorQuantizedFamily { codes, columns, quantizers, .. } = self.family;
        let given = codebook.tables();
        let (shape, expected) = (given[0].dims(), [codes, columns]);
        if (given.len(), shape) != (quantizers, expected) {
            return Err(Error::value(format!(
                "the codebook has {} tables of shape {shape:?}, but the quantiser has {quantizers} \
                 of shape {expected:?}",
                given.len(),
            )));
        }
        // New states: those of the old codebook are shared with its clones.
        let table = |(table, codes): (&Table, &Tensor<2>)| {
            let device = table.counts.value().device();
            let codes = on(&device, codes.clone());
            Table {
                codes: RunningState::new(codes.clone()),
                sums: RunningState::new(codes),
                counts: RunningState::new(Tensor::ones([expected[0]], &device)),
            }
        };
        let tables = self.tables.iter().zip(given).map(table).collect();
        Ok(Self { tables, ..self })
    }

    /// The configuration.
    pub fn family(&self) -> VectorQuantizedFamily {
        self.family
    }

    /// Returns the codebook in its present state.
    pub fn codebook(&self) -> CodeTable {
        let tables = self.tables.iter().map(|table| table.codes.value_sync()).collect();
        CodeTable::new(tables).expect("tables of one shape")
    }

    /// Quantises features without changing the codebook.
    ///
    /// # Shapes
    /// - `features`: `[batch, groups * columns]`
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    pub fn quantize(&self, features: Tensor<2>) -> Quantized<CodeTable> {
        self.apply(features, Phase::Eval)
    }

    /// Quantises the features of a training step, then moves the codebook towards them.
    ///
    /// The [penalty](crate::posterior::Posterior::penalty) of an example is the commitment loss,
    /// averaged over the groups. `step` counts from 0; a codebook that has not been in training starts
    /// by k-means in step 0 or, if that was skipped, in one that is a power of two.
    ///
    /// # Shapes
    /// - `features`: `[batch, groups * columns]`
    ///
    /// # Panics
    /// If the columns do not divide into groups.
    pub fn learn(&self, features: Tensor<2>, step: u64) -> Quantized<CodeTable> {
        self.apply(features, Phase::Train { step })
    }

    fn apply(&self, features: Tensor<2>, phase: Phase) -> Quantized<CodeTable> {
        let VectorQuantizedFamily { columns, commitment, gradient, .. } = self.family;
        let [batch, latent_dim] = features.dims();
        assert!(latent_dim.is_multiple_of(columns), "{latent_dim} columns in groups of {columns}");
        let groups = latent_dim / columns;
        let device = features.device();
        let like_features = |x: Tensor<2>| on(&device, x);
        let features = features.reshape([batch * groups, columns]);
        let mut rest = features.clone().detach().without_autodiff();
        let mut sum = rest.zeros_like();
        let mut indices = Vec::with_capacity(self.tables.len());
        let mut used = Vec::with_capacity(self.tables.len());
        let mut errors: Option<Tensor<2>> = None;
        for (i, table) in self.tables.iter().enumerate() {
            // The draws depend on the step alone, so that a resumed run repeats them.
            let seed = Seed::default().child("learn").at(i as u64);
            if let Some(step) = phase.step() {
                table.start(&rest, seed.child("start"), step);
            }
            let codes = table.codes_like(&rest);
            let nearest = nearest(rest.clone(), &codes);
            let chosen = codes.clone().select(0, nearest.clone());
            used.push(codes);
            if let Some(step) = phase.step() {
                table.follow(&rest, &nearest, &self.family, seed.at(step));
                let error = features.clone() - like_features(sum.clone() + chosen.clone());
                let error = error.square().sum_dim(1);
                errors = Some(errors.map_or(error.clone(), |errors| errors + error));
            }
            (rest, sum) = (rest - chosen.clone(), sum + chosen);
            indices.push(nearest.unsqueeze_dim::<2>(1));
        }
        let passed = match gradient {
            CodeGradient::StraightThrough => features,
            CodeGradient::Rotation => rotated(features, like_features(sum.clone())),
        };
        let z = like_features(sum) + gradient_of(passed);
        let indices = Tensor::cat(indices, 1).reshape([batch, groups * self.tables.len()]);
        let codebook = CodeTable::new(used).expect("tables of one shape");
        let q = Quantized::new(z.reshape([batch, latent_dim]), codebook).with_indices(indices);
        match errors {
            Some(errors) => {
                let mean = errors.reshape([batch, groups]).mean_dim(1).squeeze_dim::<1>(1);
                q.with_penalty(mean.mul_scalar(commitment))
            }
            None => q,
        }
    }
}

impl Table {
    /// Sets the vectors by k-means if they have not been in training.
    fn start(&self, features: &Tensor<2>, seed: Seed, step: u64) {
        // Few steps read from the device. More than the first, because it may have been skipped.
        if step != 0 && !step.is_power_of_two() {
            return;
        }
        let counts = self.counts.value_sync();
        if counts.clone().sum().into_scalar::<f32>() == 0.0 {
            let (means, counts) = k_means(features, counts.dims()[0], seed);
            let sums = means * counts.clone().unsqueeze_dim(1);
            self.set(averages(&sums, &counts), sums, counts);
        }
    }

    /// Returns the vectors, on the device of the features.
    fn codes_like(&self, features: &Tensor<2>) -> Tensor<2> {
        on(&features.device(), self.codes.value_sync())
    }

    /// Moves each vector towards the features that are nearest to it, and replaces unused ones.
    ///
    /// # Shapes
    /// - `features`: `[rows, columns]`, without gradient
    /// - `nearest`: `[rows]`
    fn follow(
        &self,
        features: &Tensor<2>,
        nearest: &Tensor<1, Int>,
        family: &VectorQuantizedFamily,
        seed: Seed,
    ) {
        let VectorQuantizedFamily { decay, dead_share, codes, .. } = *family;
        let device = features.device();
        let (old_sums, old_counts) = (self.sums.value_sync(), self.counts.value_sync());
        let (new_sums, new_counts) = totals(features, nearest, codes);
        let sums = on(&device, old_sums).mul_scalar(decay) + new_sums.mul_scalar(1.0 - decay);
        let counts = on(&device, old_counts).mul_scalar(decay) + new_counts.mul_scalar(1.0 - decay);
        let table = averages(&sums, &counts);
        if dead_share == 0.0 {
            return self.set(table, sums, counts);
        }
        // No read from the device: there is a candidate for each vector, used or not.
        let (candidates, may) = candidates(features.dims()[0], codes, seed);
        let candidates = Tensor::<1, Int>::from_data(candidates.as_slice(), &device);
        let may = Tensor::<1>::from_data(may.as_slice(), &device).greater_scalar(0.5);
        let least = counts.clone().sum().mul_scalar(dead_share / codes as f64);
        let dead = counts.clone().lower(least.clone().expand([codes])).bool_and(may);
        let new = features.clone().select(0, candidates);
        let wide = dead.clone().unsqueeze_dim::<2>(1).expand(new.dims());
        self.set(
            table.mask_where(wide.clone(), new.clone()),
            sums.mask_where(wide, new * least.clone().unsqueeze_dim(1)),
            counts.mask_where(dead, least.expand([codes])),
        );
    }

    /// Replaces the state, and publishes it to the clones.
    fn set(&self, codes: Tensor<2>, sums: Tensor<2>, counts: Tensor<1>) {
        let device = self.counts.value().device();
        self.codes.update(on(&device, codes));
        self.sums.update(on(&device, sums));
        self.counts.update(on(&device, counts));
        let _published =
            (self.codes.value_sync(), self.sums.value_sync(), self.counts.value_sync());
    }
}

/// Moves a constant to a device, with or without autodiff.
fn on<const D: usize>(device: &Device, x: Tensor<D>) -> Tensor<D> {
    let x = x.without_autodiff().to_device(&device.clone().without_autodiff());
    if device.is_autodiff() { Tensor::from_inner(x) } else { x }
}

/// Sums and numbers of the features that are nearest to each vector, `[codes, columns]` and
/// `[codes]`.
fn totals(features: &Tensor<2>, nearest: &Tensor<1, Int>, codes: usize) -> (Tensor<2>, Tensor<1>) {
    let ([rows, columns], device) = (features.dims(), features.device());
    let add = IndexingUpdateOp::Add;
    let sums = Tensor::zeros([codes, columns], &device);
    let counts = Tensor::<1>::zeros([codes], &device);
    let ones = Tensor::ones([rows], &device);
    (
        sums.select_assign(0, nearest.clone(), features.clone(), add),
        counts.select_assign(0, nearest.clone(), ones, IndexingUpdateOp::Add),
    )
}

/// The vectors: sums divided by counts that are smoothed, so that none is zero.
fn averages(sums: &Tensor<2>, counts: &Tensor<1>) -> Tensor<2> {
    let codes = counts.dims()[0] as f64;
    let total = counts.clone().sum();
    let share = total.clone() / total.add_scalar(codes * SMOOTHING);
    let smoothed = counts.clone().add_scalar(SMOOTHING) * share;
    sums.clone() / smoothed.unsqueeze_dim(1)
}

/// Returns centres of clusters and the numbers of their members, by Lloyd's iterations from random
/// features.
fn k_means(features: &Tensor<2>, clusters: usize, seed: Seed) -> (Tensor<2>, Tensor<1>) {
    let (rows, device) = (features.dims()[0], features.device());
    let (start, _) = candidates(rows, clusters, seed);
    let start = Tensor::<1, Int>::from_data(start.as_slice(), &device);
    let mut means = features.clone().select(0, start);
    let mut counts = Tensor::zeros([clusters], &device);
    for _ in 0..ITERATIONS {
        let (sums, members) = totals(features, &nearest(features.clone(), &means), clusters);
        let empty = members.clone().equal_scalar(0.0);
        let moved = sums / members.clone().clamp_min(1.0).unsqueeze_dim(1);
        let empty = empty.unsqueeze_dim::<2>(1).expand(means.dims());
        means = moved.mask_where(empty, means);
        counts = members;
    }
    (means, counts)
}

/// Draws a row for each of `wanted` places. Rows are distinct for as many random places as there are
/// rows; these places have a 1 in the second list.
fn candidates(rows: usize, wanted: usize, seed: Seed) -> (Vec<i64>, Vec<f32>) {
    let mut rng = seed.rng();
    let count = rows.min(wanted);
    let distinct = index::sample(&mut rng, rows, count).into_vec();
    let places = index::sample(&mut rng, wanted, count).into_vec();
    let mut drawn = (0..wanted).map(|_| rng.random_range(0..rows) as i64).collect::<Vec<_>>();
    let mut is_distinct = vec![0.0; wanted];
    for (place, row) in places.into_iter().zip(distinct) {
        (drawn[place], is_distinct[place]) = (row as i64, 1.0);
    }
    (drawn, is_distinct)
}

/// The rotation and scaling that takes each row of `from` to that of `to`, applied to `from` as a
/// constant map (Fifty et al. 2024, section 4.2). Its value is `to`.
fn rotated(from: Tensor<2>, to: Tensor<2>) -> Tensor<2> {
    const LEAST: f64 = 1e-6;
    let norm = |x: Tensor<2>| x.square().sum_dim(1).sqrt();
    let (length, target) = (norm(from.clone().detach()), norm(to.clone()));
    let from_unit = from.clone().detach() / length.clone().clamp_min(LEAST);
    let to_unit = to / target.clone().clamp_min(LEAST);
    let middle = from_unit.clone() + to_unit.clone();
    let middle = middle.clone() / norm(middle).clamp_min(LEAST);
    let along = |axis: Tensor<2>| (from.clone() * axis).sum_dim(1).mul_scalar(2.0);
    let turned = from.clone() - along(middle.clone()) * middle + along(from_unit) * to_unit;
    turned * (target / length.clamp_min(LEAST))
}
