use burn::tensor::{Tensor, TensorData};

use super::Network;
use crate::error::{Error, Result};

/// How an image is cut into overlapping tiles, in positions of the code.
///
/// Each tile is computed by itself, and where tiles overlap, their results are blended with weights
/// that rise from one to the other. Memory is needed for the network's layers on one tile instead of
/// on the whole image. The result differs from that of the whole: a position sees its tile only, and
/// normalisation and attention work within tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// Height and width of a tile.
    pub size: usize,
    /// Height and width of the overlap of neighbours, below `size`.
    pub overlap: usize,
}

impl Tiles {
    /// Tiles that overlap by a quarter of their size, as in diffusers.
    pub fn new(size: usize) -> Self {
        Self { size, overlap: size / 4 }
    }

    /// Applies a network to each tile and joins the results. `input` and `output` are the numbers of
    /// pixels for a position of the code.
    ///
    /// # Shapes
    /// - `x`: `[n, height, width, channels]`
    pub(crate) fn apply(
        self,
        network: &Network,
        x: Tensor<4>,
        [input, output]: [usize; 2],
    ) -> Result<Tensor<4>> {
        let Self { size, overlap } = self;
        if overlap >= size {
            return Err(Error::value(format!(
                "tiles of {size} positions cannot overlap by {overlap}"
            )));
        }
        let [_, height, width, _] = x.dims();
        // A tile as large as the image is the whole of it.
        let longest = height.max(width).div_ceil(input);
        let (size, overlap) = if size < longest { (size, overlap) } else { (longest, 0) };
        let step = (size - overlap) * input;
        let (crop, fade) = ((size - overlap) * output, overlap * output);
        let lengths = |length: usize| {
            (0..length).step_by(step).map(move |start| (size * input).min(length - start))
        };
        for [rows, columns] in lengths(height).flat_map(|r| lengths(width).map(move |c| [r, c])) {
            let expected = [rows / input * output, columns / input * output];
            if network.size_for([rows, columns]) != Some(expected) {
                return Err(Error::value(format!(
                    "a tile of {rows} x {columns} does not become one of {} x {} in this network: \
                     choose tiles of another size",
                    expected[0], expected[1]
                )));
            }
        }
        let cut = |x: Tensor<4>, dim: usize, start: usize| {
            let length = (size * input).min(x.dims()[dim] - start);
            x.narrow(dim, start, length)
        };
        let mut above = Vec::<Tensor<4>>::new();
        let mut rows = Vec::new();
        for top in (0..height).step_by(step) {
            let mut row = Vec::<Tensor<4>>::new();
            for (i, left) in (0..width).step_by(step).enumerate() {
                let mut tile = network.forward_any(cut(cut(x.clone(), 1, top), 2, left));
                if let Some(above) = above.get(i) {
                    tile = blend(above, tile, 1, fade);
                }
                if let Some(left) = row.last() {
                    tile = blend(left, tile, 2, fade);
                }
                row.push(tile);
            }
            let cropped = row.iter().map(|tile| {
                let [_, height, width, _] = tile.dims();
                tile.clone().narrow(1, 0, crop.min(height)).narrow(2, 0, crop.min(width))
            });
            rows.push(Tensor::cat(cropped.collect(), 2));
            above = row;
        }
        Ok(Tensor::cat(rows, 1))
    }
}

/// Replaces the first `fade` rows or columns of a tile by a mixture with the last ones of the tile
/// before.
fn blend(before: &Tensor<4>, tile: Tensor<4>, dim: usize, fade: usize) -> Tensor<4> {
    let [length, size] = [before.dims()[dim], tile.dims()[dim]];
    let fade = fade.min(length).min(size);
    if fade == 0 {
        return tile;
    }
    let mut shape = [1; 4];
    shape[dim] = fade;
    let share = (0..fade).map(|i| i as f32 / fade as f32).collect();
    let share = TensorData::new::<f32, _>(share, shape);
    let share = Tensor::<4>::from_data(share, &tile.device());
    let old = before.clone().narrow(dim, length - fade, fade);
    let new = tile.clone().narrow(dim, 0, fade);
    let mixed = old.clone() + (new - old) * share;
    match size - fade {
        0 => mixed,
        rest => Tensor::cat(vec![mixed, tile.narrow(dim, fade, rest)], dim),
    }
}
