//! The arithmetic of convolutions and transposed convolutions over
//! `[batch, height, width, channels]`.
//!
//! Both connect a larger image and a smaller one through the same patches. Let the patches be the
//! rows of a matrix `P`, the pixels of the smaller image those of `S`, and the weights a matrix
//! `W`, `[patch, small channels]`. Then everything is a product:
//!
//! | | forward | gradient of the input | gradient of the weights |
//! |---|---|---|---|
//! | convolution | `S = P W` | `P = S W^T`, summed | `P^T S` |
//! | transposed convolution | `P = S W^T`, summed | `S = P W` | `P^T S` |
//!
//! Patches are copied here, a few images at a time, for layers of few channels or few pixels. Others have
//! ways of their own.

use std::ops::Range;

use super::elementary::vectorized;
use super::matmul::{Blank, Matrix, in_parts, matmul};
use super::patches::Patches;
use super::rows::{PARTS, add, add_rows, share, sum};
use super::scratch::{Scratch, with_scratch};
use crate::ops::{Direction, Geometry};

/// Number of patch values to compute at a time (256 KiB), so that they stay in the cache.
///
/// So small in tests that every case takes several rounds.
const PATCH_VALUES: usize = if cfg!(test) { 1 << 7 } else { 1 << 16 };

/// Number of images that are worth a thread of its own.
const FEW: usize = 4;

/// A layer with its weights.
#[derive(Clone, Copy)]
pub(super) struct Convolution<'a> {
    pub(super) patches: Patches,
    pub(super) small_channels: usize,
    pub(super) direction: Direction,
    /// `[small channels, large channels, kernel, kernel]`
    pub(super) weight: &'a [f32],
}

/// Gradients of a layer; those of the input and the weights only if requested.
pub(super) struct LayerGradients {
    pub(super) x: Option<Vec<f32>>,
    pub(super) weight: Option<Vec<f32>>,
    pub(super) bias: Vec<f32>,
}

impl<'a> Convolution<'a> {
    pub(super) fn new(
        geometry: Geometry,
        direction: Direction,
        [small_channels, large_channels]: [usize; 2],
        weight: &'a [f32],
    ) -> Self {
        let patches = Patches { geometry, channels: large_channels };
        Self { patches, small_channels, direction, weight }
    }

    /// Applies the layer to `x`, with `bias` and, if `relu`, a ReLU.
    pub(super) fn forward(&self, x: &[f32], bias: &[f32], relu: bool) -> Vec<f32> {
        let [x_len, y_len] = self.lens();
        if self.is_heavy(x.len() / x_len) {
            return self.forward_heavy(x, bias, relu);
        }
        if self.is_large() {
            return self.forward_bands(x, bias, relu);
        }
        if self.is_direct() {
            return self.forward_direct(x, bias, relu);
        }
        let weight = match self.direction {
            Direction::Down => self.weight_by_patch(),
            Direction::Up => self.weight_by_channel(),
        };
        let run = |_: &mut (), images: Range<usize>, scratch: &mut Scratch, y: &mut Blank| {
            let x = &x[scaled(&images, x_len)];
            let patches = self.room_for_patches(images.len(), &mut scratch.input);
            match self.direction {
                Direction::Down => {
                    self.patches.read(x, patches);
                    let patches = self.patches.matrix(patches);
                    let y = y.product(patches, Matrix::new(&weight, self.small_channels));
                    finish(y, bias, relu);
                }
                Direction::Up => {
                    let x = Matrix::new(x, self.small_channels);
                    self.patches.write_product(
                        patches,
                        x,
                        Matrix::new(&weight, self.patches.patch_len()),
                    );
                    let finish = |y: &mut [f32]| finish(y, bias, relu);
                    self.patches.add_up(patches, y, finish);
                }
            }
        };
        self.in_chunks(x.len() / x_len, y_len, || (), run).0
    }

    /// Computes the gradients from that of the output, `dy`, and from the output itself if it is a
    /// ReLU's.
    ///
    /// If patches are copied, each part of `dy` is used for all gradients while it is in the cache.
    pub(super) fn backward(
        &self,
        x: &[f32],
        y_if_relu: Option<&[f32]>,
        dy: &[f32],
        [wants_dx, wants_dw]: [bool; 2],
    ) -> LayerGradients {
        let [x_len, y_len] = self.lens();
        if self.is_heavy(x.len() / x_len) {
            return self.backward_heavy(x, y_if_relu, dy, [wants_dx, wants_dw]);
        }
        if self.is_large() {
            return self.backward_bands(x, y_if_relu, dy, [wants_dx, wants_dw]);
        }
        if self.is_direct() {
            return self.backward_direct(x, y_if_relu, dy, [wants_dx, wants_dw]);
        }
        let weight = match (wants_dx, self.direction) {
            (false, _) => Vec::new(),
            (_, Direction::Down) => self.weight_by_channel(),
            (_, Direction::Up) => self.weight_by_patch(),
        };
        let channels = match self.direction {
            Direction::Down => self.small_channels,
            Direction::Up => self.patches.channels,
        };
        let dw_len = if wants_dw { self.weight.len() } else { 0 };
        let start = || [vec![0.0; dw_len], vec![0.0; channels]];
        let run = |[dw, db]: &mut [Vec<f32>; 2],
                   images: Range<usize>,
                   scratch: &mut Scratch,
                   dx: &mut Blank| {
            let x = &x[scaled(&images, x_len)];
            let at = scaled(&images, y_len);
            let dy = match y_if_relu {
                Some(y) => through_relu(&dy[at.clone()], &y[at], &mut scratch.gradient),
                None => &dy[at],
            };
            add_rows(db, dy);
            let patches = self.room_for_patches(images.len(), &mut scratch.input);
            let small = match self.direction {
                Direction::Down => {
                    let dy = Matrix::new(dy, self.small_channels);
                    if wants_dx {
                        let weight = Matrix::new(&weight, self.patches.patch_len());
                        self.patches.write_product(patches, dy, weight);
                        self.patches.add_up(patches, dx, |_| ());
                    }
                    if wants_dw {
                        self.patches.read(x, patches);
                    }
                    dy
                }
                Direction::Up => {
                    self.patches.read(dy, patches);
                    if wants_dx {
                        let patches = self.patches.matrix(patches);
                        dx.product(patches, Matrix::new(&weight, self.small_channels));
                    }
                    Matrix::new(x, self.small_channels)
                }
            };
            if wants_dw {
                matmul(dw, self.patches.matrix(patches).t(), small, true);
            }
        };
        let dx_len = if wants_dx { x_len } else { 0 };
        let (dx, parts) = self.in_chunks(x.len() / x_len, dx_len, start, run);
        let (dw, db): (Vec<_>, Vec<_>) = parts.into_iter().map(|[dw, db]| (dw, db)).unzip();
        LayerGradients {
            x: wants_dx.then_some(dx),
            weight: wants_dw.then(|| self.unpack(&sum(dw, self.weight.len()))),
            bias: sum(db, channels),
        }
    }

    /// Processes the images of a batch in chunks. See [`in_parts`](Self::in_parts).
    fn in_chunks<S: Send>(
        &self,
        batch: usize,
        len: usize,
        start: impl Fn() -> S + Sync,
        run: impl Fn(&mut S, Range<usize>, &mut Scratch, &mut Blank) + Sync,
    ) -> (Vec<f32>, Vec<S>) {
        let chunk = (PATCH_VALUES / (self.patches.count() * self.patches.patch_len())).max(1);
        self.in_parts(batch, len, start, |state, images, out| {
            with_scratch(|scratch| {
                for first in images.clone().step_by(chunk) {
                    run(state, first..images.end.min(first + chunk), scratch, out);
                }
            });
        })
    }

    /// Processes the images of a batch in parts. Returns the output, with `len` values per image, and
    /// the final state of each part.
    pub(super) fn in_parts<S: Send>(
        &self,
        batch: usize,
        len: usize,
        start: impl Fn() -> S + Sync,
        run: impl Fn(&mut S, Range<usize>, &mut Blank) + Sync,
    ) -> (Vec<f32>, Vec<S>) {
        // Each part has its own gradient of the weights, so parts of a few images cost more than
        // they gain.
        let part = batch.div_ceil(PARTS).min(FEW).max(batch.div_ceil(2 * PARTS)).max(1);
        in_parts(batch * len, part * len, (0..batch).step_by(part), |first, out| {
            let mut state = start();
            run(&mut state, first..batch.min(first + part), out);
            state
        })
    }

    fn room_for_patches<'s>(&self, images: usize, scratch: &'s mut Vec<f32>) -> &'s mut [f32] {
        room(scratch, images * self.patches.count() * self.patches.patch_len())
    }

    /// Number of values of an input and of an output.
    pub(super) fn lens(&self) -> [usize; 2] {
        let (small, large) = (self.patches.count() * self.small_channels, self.patches.image_len());
        match self.direction {
            Direction::Down => [large, small],
            Direction::Up => [small, large],
        }
    }

    /// `W`: `[kernel, kernel, large channels, small channels]`
    pub(super) fn weight_by_patch(&self) -> Vec<f32> {
        let [small, large, taps] = self.dims();
        permuted(self.weight, [taps, large, small], [1, taps, large * taps])
    }

    /// `W^T`: `[small channels, kernel, kernel, large channels]`
    pub(super) fn weight_by_channel(&self) -> Vec<f32> {
        let [small, large, taps] = self.dims();
        permuted(self.weight, [small, taps, large], [large * taps, 1, taps])
    }

    /// Converts the order of [`weight_by_patch`](Self::weight_by_patch) back to that of the layer.
    pub(super) fn unpack(&self, dw: &[f32]) -> Vec<f32> {
        let [small, large, taps] = self.dims();
        permuted(dw, [small, large, taps], [1, small, large * small])
    }

    /// Number of channels of the smaller image, of those of the larger one, and of values of a
    /// kernel.
    pub(super) fn dims(&self) -> [usize; 3] {
        let kernel = self.patches.geometry.kernel;
        [self.small_channels, self.patches.channels, kernel * kernel]
    }
}

/// Copies an array of size `dims` whose neighbours along each dimension are `strides` apart in
/// `values`.
fn permuted(values: &[f32], dims: [usize; 3], strides: [usize; 3]) -> Vec<f32> {
    let plane = dims[1] * dims[2];
    let planes = share(plane);
    let parts = (0..dims[0]).step_by(planes);
    let copy = |first: usize, out: &mut Blank| {
        for i in first..dims[0].min(first + planes) {
            for j in 0..dims[1] {
                let values = &values[i * strides[0] + j * strides[1]..];
                out.write(values.iter().step_by(strides[2]).take(dims[2]).copied());
            }
        }
    };
    in_parts(values.len(), planes * plane, parts, copy).0
}

/// Adds the bias to each pixel and, if `relu`, applies the ReLU. NaN is preserved, as in Burn's
/// ReLU.
pub(super) fn finish(y: &mut [f32], bias: &[f32], relu: bool) {
    vectorized(
        #[inline(always)]
        || {
            match bias {
                [bias] => y.iter_mut().for_each(|y| *y += bias),
                _ => y.chunks_exact_mut(bias.len()).for_each(|y| add(y, bias)),
            }
            if relu {
                y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
            }
        },
    );
}

/// The gradient with respect to the input of a ReLU, given that of its output, `dy`.
fn through_relu<'a>(dy: &[f32], y: &[f32], scratch: &'a mut Vec<f32>) -> &'a [f32] {
    let out = room(scratch, dy.len());
    mask(out, dy, y);
    out
}

/// [`through_relu`] of a whole batch.
pub(super) fn masked(dy: &[f32], y: &[f32]) -> Vec<f32> {
    let share = share(1);
    let parts = dy.chunks(share).zip(y.chunks(share));
    let work = |(dy, y): (&[f32], &[f32]), out: &mut Blank| mask(out.zeros(dy.len()), dy, y);
    in_parts(dy.len(), share, parts, work).0
}

pub(super) fn mask(masked: &mut [f32], dy: &[f32], y: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            for ((masked, dy), y) in masked.iter_mut().zip(dy).zip(y) {
                *masked = if *y <= 0.0 { 0.0 } else { *dy };
            }
        },
    );
}

/// Calls `f` with a buffer for the patches of one image of a layer.
pub(super) fn with_patches<R>(layer: &Convolution, f: impl FnOnce(&mut [f32]) -> R) -> R {
    with_scratch(|scratch| f(layer.room_for_patches(1, &mut scratch.input)))
}

/// Returns a buffer of `len` values with unspecified contents.
fn room(scratch: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    &mut scratch[..len]
}

fn scaled(images: &Range<usize>, len: usize) -> Range<usize> {
    images.start * len..images.end * len
}
