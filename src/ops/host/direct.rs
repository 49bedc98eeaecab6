//! Convolutions without patches: products over an image with a border of zeros.
//!
//! Each pixel of the output is a sum over runs of neighbouring values. From the larger image to the
//! smaller one, these are the rows of a patch. In the other direction, an output pixel takes every
//! `stride`th weight of the kernel along each dimension, so the pixels fall into `stride^2` phases with
//! weights of their own, and the runs are rows of neighbouring pixels. The gradient of the weights
//! correlates the rows of patches with the pixels of the smaller image.

use std::ops::Range;

use rayon::prelude::*;

use super::convolution::{Convolution, LayerGradients};
use super::frame::Frame;
use super::matmul::{Blank, in_parts};
use super::rows::{add_rows, sum};
use super::scratch::with_scratch;
use super::tiles::{Correlate, Lines, Panels, Pixel, Runs, Weigh, lanes};
use crate::ops::{Direction, Geometry};

/// Minimum number of pixels of the smaller image, each of which uses all weights.
const PIXELS: usize = 16;

/// Number of multiplications that are worth a thread.
const WORTH: usize = 1 << 20;

/// A product that computes pixels of an output.
struct Path {
    pixels: Vec<Pixel>,
    runs: Runs,
    weights: Panels,
}

/// A layer in one direction.
struct Map {
    frame: Frame,
    paths: Vec<Path>,
    /// Number of values of an output.
    len: usize,
    /// Number of images that are worth a thread.
    share: usize,
}

impl Map {
    /// Computes the outputs of a batch, with bias and, if `relu`, a ReLU; without bias, `bias` is empty.
    /// See [`Frame::fill`] for `y_if_relu`.
    fn apply(&self, x: &[f32], y_if_relu: Option<&[f32]>, bias: &[f32], relu: bool) -> Vec<f32> {
        let x_len = self.frame.image_len();
        let batch = x.len() / x_len;
        let shares = (0..batch).step_by(self.share);
        let run = |first, out: &mut Blank| {
            with_scratch(|scratch| {
                let framed = self.frame.empty(&mut scratch.input);
                for image in first..batch.min(first + self.share) {
                    let at = image * x_len..(image + 1) * x_len;
                    self.frame.fill(&x[at.clone()], y_if_relu.map(|y| &y[at]), framed);
                    let out = out.zeros(self.len);
                    for Path { pixels, runs, weights } in &self.paths {
                        Weigh { image: framed, pixels, runs, weights, bias, relu, out }.run();
                    }
                }
            });
        };
        in_parts(batch * self.len, self.share * self.len, shares, run).0
    }
}

impl Convolution<'_> {
    /// Whether a layer is computed here. With few channels most of a vector would be empty.
    pub(super) fn is_direct(&self) -> bool {
        self.patches.count() >= PIXELS
            && self.small_channels.min(self.patches.channels) >= lanes()
            && !self.patches.is_by_value()
    }

    pub(super) fn forward_direct(&self, x: &[f32], bias: &[f32], relu: bool) -> Vec<f32> {
        let map = match self.direction {
            Direction::Down => self.down(),
            Direction::Up => self.up(),
        };
        map.apply(x, None, bias, relu)
    }

    pub(super) fn backward_direct(
        &self,
        x: &[f32],
        y_if_relu: Option<&[f32]>,
        dy: &[f32],
        [wants_dx, wants_dw]: [bool; 2],
    ) -> LayerGradients {
        let back = || match self.direction {
            Direction::Down => self.up(),
            Direction::Up => self.down(),
        };
        // The gradient of the weights has a few large parts. Threads that have none, or are done with
        // theirs, take images of the other.
        let ((dw, db), dx) = rayon::join(
            || self.parameter_gradients(x, y_if_relu, dy, wants_dw),
            || wants_dx.then(|| back().apply(dy, y_if_relu, &[], false)),
        );
        LayerGradients { x: dx, weight: dw, bias: db }
    }

    /// The gradients of the weights, if they are wanted, and of the bias.
    fn parameter_gradients(
        &self,
        x: &[f32],
        y_if_relu: Option<&[f32]>,
        dy: &[f32],
        is_wanted: bool,
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let [x_len, y_len] = self.lens();
        let (large, small) = (self.large_frame(), self.small_frame());
        let (frame, lines) = match self.direction {
            Direction::Down => (small, self.lines(Some(small))),
            Direction::Up => (large, self.lines(None)),
        };
        let runs = self.patch_runs();
        let dw_len = if is_wanted { self.weight.len() } else { 0 };
        let start = || [vec![0.0; dw_len], vec![0.0; frame.channels]];
        let run = |[dw, db]: &mut [Vec<f32>; 2], images: Range<usize>, _: &mut Blank| {
            with_scratch(|scratch| {
                let framed_dy = frame.empty(&mut scratch.gradient);
                let framed_x = match self.direction {
                    Direction::Down if is_wanted => large.empty(&mut scratch.input),
                    _ => &mut [],
                };
                for image in images {
                    let (x, at) =
                        (&x[image * x_len..][..x_len], image * y_len..(image + 1) * y_len);
                    frame.fill(&dy[at.clone()], y_if_relu.map(|y| &y[at]), framed_dy);
                    add_rows(db, framed_dy);
                    if !is_wanted {
                        continue;
                    }
                    let (image, small) = match self.direction {
                        Direction::Down => {
                            large.fill(x, None, framed_x);
                            (&*framed_x, &*framed_dy)
                        }
                        Direction::Up => (&*framed_dy, x),
                    };
                    let (pixels, runs) = (&lines, &runs);
                    Correlate { image, pixels, runs, small, sums: dw }.run();
                }
            });
        };
        let parts = self.in_parts(x.len() / x_len, 0, start, run).1;
        let (dw, db): (Vec<_>, Vec<_>) = parts.into_iter().map(|[dw, db]| (dw, db)).unzip();
        (is_wanted.then(|| self.unpack(&sum(dw, dw_len))), sum(db, frame.channels))
    }

    /// The map from the larger image to the smaller one.
    fn down(&self) -> Map {
        let [small, large, taps] = self.dims();
        // In the order of a patch.
        let rows = (0..taps).flat_map(|tap| (0..large).map(move |channel| channel * taps + tap));
        let rows = rows.collect::<Vec<_>>();
        let weights = Panels::new(self.weight, &rows, small, large * taps);
        let path = Path { pixels: self.pixels(), runs: self.patch_runs(), weights };
        self.map(self.large_frame(), vec![path], self.patches.count() * small)
    }

    /// The map from the smaller image to the larger one.
    fn up(&self) -> Map {
        let Geometry { stride, .. } = self.patches.geometry;
        let frame = self.small_frame();
        let phases = (0..stride * stride).into_par_iter();
        let phase = |phase| self.phase(&frame, [phase / stride, phase % stride]);
        self.map(frame, phases.map(phase).collect(), self.patches.image_len())
    }

    fn map(&self, frame: Frame, paths: Vec<Path>, len: usize) -> Map {
        let each = self.patches.count().saturating_mul(self.weight.len()).max(1);
        Map { frame, paths, len, share: (WORTH / each).max(1) }
    }

    /// The pixels of the larger image whose distance from the first, in its frame, is `phase` more than
    /// a multiple of the stride.
    fn phase(&self, frame: &Frame, phase: [usize; 2]) -> Path {
        let Geometry { large, kernel, stride, pad, .. } = self.patches.geometry;
        let [small_channels, large_channels, kernel_len] = self.dims();
        // Along each dimension: the weights that reach a pixel, and its places in the two images.
        let taps = phase.map(|phase| (phase..kernel).step_by(stride).collect::<Vec<_>>());
        let places = |i: usize| {
            let first = pad[i] + (phase[i] + stride - pad[i] % stride) % stride;
            let framed = (first..large[i] + pad[i]).step_by(stride);
            framed.map(move |framed| (framed / stride, framed - pad[i]))
        };
        let pixels = places(0).flat_map(|(row, to_row)| {
            places(1).map(move |(column, to_column)| Pixel {
                at: frame.at(row, column),
                other: (to_row * large[1] + to_column) * large_channels,
            })
        });
        let [rows, columns] = taps;
        // The pixels of a run belong to ever earlier weights, so the first to the last.
        let start = |i: usize, tap: usize| frame.before[i] - tap;
        let offsets = match columns.len() {
            0 => Vec::new(),
            len => (0..rows.len()).map(|tap| frame.at(start(0, tap), start(1, len - 1))).collect(),
        };
        let runs = Runs { offsets, len: columns.len() * small_channels };
        let taps = rows
            .iter()
            .flat_map(|row| columns.iter().rev().map(move |column| row * kernel + column));
        let channel = |tap| {
            (0..small_channels).map(move |channel| channel * large_channels * kernel_len + tap)
        };
        let starts = taps.flat_map(channel).collect::<Vec<_>>();
        let weights = Panels::new(self.weight, &starts, large_channels, kernel_len);
        Path { pixels: pixels.collect(), runs, weights }
    }

    /// The larger image with all places that patches reach.
    fn large_frame(&self) -> Frame {
        let Geometry { large, small, kernel, stride, pad } = self.patches.geometry;
        let reach = |i: usize| small[i].saturating_sub(1) * stride + kernel;
        let size = [0, 1].map(|i| reach(i).max(pad[i] + large[i]));
        Frame { image: large, size, before: pad, channels: self.patches.channels, stride }
    }

    /// The smaller image with all places that a pixel of the larger one looks at.
    fn small_frame(&self) -> Frame {
        let Geometry { large, small, kernel, stride, pad } = self.patches.geometry;
        let before = kernel.div_ceil(stride).saturating_sub(1);
        let last = |i: usize| (large[i] + pad[i]).saturating_sub(1) / stride;
        let size = [0, 1].map(|i| before + small[i].max(last(i) + 1));
        Frame { image: small, size, before: [before; 2], channels: self.small_channels, stride }
    }

    /// Where the patch of each pixel of the smaller image begins in the frame of the larger one.
    fn pixels(&self) -> Vec<Pixel> {
        let Geometry { small: [rows, columns], stride, .. } = self.patches.geometry;
        let frame = self.large_frame();
        let pixel = |i: usize| Pixel {
            at: frame.at(i / columns * stride, i % columns * stride),
            other: i * self.small_channels,
        };
        (0..rows * columns).map(pixel).collect()
    }

    /// The same for each row of pixels, of a smaller image with or without its frame.
    fn lines(&self, framed: Option<Frame>) -> Lines {
        let Geometry { small: [rows, columns], stride, .. } = self.patches.geometry;
        let (large, channels) = (self.large_frame(), self.small_channels);
        let first = |row| Pixel {
            at: large.at(row * stride, 0),
            other: match framed {
                Some(frame) => frame.at(frame.before[0] + row, frame.before[1]),
                None => row * columns * channels,
            },
        };
        Lines::new((0..rows).map(first), columns, stride * large.channels, channels)
    }

    /// The rows of a patch.
    fn patch_runs(&self) -> Runs {
        let (frame, kernel) = (self.large_frame(), self.patches.geometry.kernel);
        Runs {
            offsets: (0..kernel).map(|row| frame.at(row, 0)).collect(),
            len: kernel * self.patches.channels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Padding;

    fn values(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    fn assert_close(a: &[f32], b: &[f32], what: &str) {
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = b.iter().fold(1.0f32, |max, b| max.max(b.abs()));
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 2e-6 * largest, "{what}, {i}: {a} and {b}");
        }
    }

    /// Against products over the patches of a whole batch, with tiles of one vector, of two and of a part
    /// of one, and rows of more pixels than are near each other.
    #[test]
    fn layers_are_those_of_patches() {
        for (large, kernel, stride) in [
            ([7, 7], 3, 2),
            ([6, 11], 3, 1),
            ([9, 5], 5, 2),
            ([8, 8], 2, 3),
            ([5, 13], 4, 3),
            ([6, 5], 5, 1),
            ([3, 2], 5, 2),
            ([5, 5], 1, 2),
        ] {
            for channels in [[64, 32], [16, 33], [7, 17], [40, 4]] {
                for direction in [Direction::Down, Direction::Up] {
                    for (relu, padding) in [(true, Padding::Same), (false, Padding::Symmetric)] {
                        check(
                            Geometry::new(large, kernel, stride, padding),
                            direction,
                            channels,
                            relu,
                        );
                    }
                }
            }
        }
    }

    fn check(geometry: Geometry, direction: Direction, channels: [usize; 2], relu: bool) {
        let what = format!("{geometry:?} {direction:?} {channels:?} {relu}");
        let weight = values(channels[0] * channels[1] * geometry.kernel.pow(2), 1);
        let layer = Convolution::new(geometry, direction, channels, &weight);
        if layer.patches.is_by_value() {
            return;
        }
        let [x_len, y_len] = layer.lens();
        // Some parts of several images.
        let batch = 9;
        let (x, dy) = (values(batch * x_len, 2), values(batch * y_len, 3));
        let bias = values(channels[if direction == Direction::Down { 0 } else { 1 }], 4);
        let y = layer.forward_direct(&x, &bias, relu);
        assert_close(&y, &layer.forward_heavy(&x, &bias, relu), &what);
        let y_if_relu = relu.then_some(&*y);
        for wanted in [[true, true], [true, false], [false, true], [false, false]] {
            let found = layer.backward_direct(&x, y_if_relu, &dy, wanted);
            let expected = layer.backward_heavy(&x, y_if_relu, &dy, wanted);
            let none = Vec::new;
            assert_close(&found.x.unwrap_or_else(none), &expected.x.unwrap_or_else(none), &what);
            let weights = [found.weight, expected.weight].map(|weight| weight.unwrap_or_else(none));
            assert_close(&weights[0], &weights[1], &what);
            assert_close(&found.bias, &expected.bias, &what);
        }
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        for direction in [Direction::Down, Direction::Up] {
            let weight = values(32 * 16 * 9, 1);
            let layer =
                Convolution::new(Geometry::same([14, 14], 3, 2), direction, [32, 16], &weight);
            let [x_len, y_len] = layer.lens();
            let (x, dy, bias) = (values(40 * x_len, 2), values(40 * y_len, 3), values(32, 4));
            let bias = &bias[..if direction == Direction::Down { 32 } else { 16 }];
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let y = layer.forward_direct(&x, bias, true);
                    let LayerGradients { x: dx, weight: dw, bias: db } =
                        layer.backward_direct(&x, Some(&y), &dy, [true; 2]);
                    (y, dx, dw, db)
                })
            };
            let one = run(1);
            for threads in [2, 3, 16] {
                assert!(run(threads) == one, "{direction:?} on {threads} threads");
            }
        }
    }

    /// A pixel that is not a number reaches the outputs that it belongs to, and no others.
    #[test]
    fn nan_is_preserved() {
        let geometry = Geometry::same([4, 4], 3, 1);
        let weight = values(6 * 8 * 9, 1);
        let layer = Convolution::new(geometry, Direction::Down, [6, 8], &weight);
        let mut x = values(16 * 8, 2);
        x[0] = f32::NAN;
        let y = layer.forward_direct(&x, &[0.0; 6], true);
        let is_nan = |pixel: usize| y[pixel * 6..][..6].iter().all(|y| y.is_nan());
        let found = (0..16).filter(|pixel| is_nan(*pixel)).collect::<Vec<_>>();
        assert_eq!(found, [0, 1, 4, 5]);
    }
}
