//! The choice of blocks by the shape of a product.

/// The blocks of a product. All sizes are multiples of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tiles {
    /// Rows and columns of the block that a cube computes.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Length of a slice of the sum in shared memory.
    pub(super) depth: usize,
    /// Rows and columns of the tile that a unit computes.
    pub(super) unit_rows: usize,
    pub(super) unit_columns: usize,
}

impl Tiles {
    pub(super) const fn units(self) -> usize {
        (self.rows / self.unit_rows) * (self.columns / self.unit_columns)
    }
}

const SMALL: Tiles = Tiles { rows: 32, columns: 32, depth: 16, unit_rows: 4, unit_columns: 4 };
const MEDIUM: Tiles = Tiles { rows: 64, columns: 64, depth: 16, unit_rows: 8, unit_columns: 4 };
const LARGE: Tiles = Tiles { rows: 128, columns: 64, depth: 8, unit_rows: 8, unit_columns: 8 };

/// Selects the blocks of a product and the number of parts of its sums.
///
/// The numbers were measured on an H100, which runs some 800 of the larger blocks at once. There all
/// products of the networks in `benches/peers` are within 15 % of the best of nine kinds of blocks
/// and up to 64 parts.
pub(super) fn plan([rows, columns, depth]: [usize; 3]) -> (Tiles, usize) {
    let cubes = |tiles: Tiles| rows.div_ceil(tiles.rows) * columns.div_ceil(tiles.columns);
    // The number of cubes to aim for, and the shortest part of a sum that is worth one.
    let (tiles, wanted, shortest) = if cubes(LARGE) >= 500 {
        (LARGE, 500, 256)
    } else if cubes(MEDIUM) >= 200 || (depth >= 2_000 && rows.min(columns) >= 200) {
        (MEDIUM, 832, 256)
    } else {
        (SMALL, 400, 192)
    };
    let parts = (wanted / cubes(tiles).max(1)).min(depth / shortest).max(1);
    (tiles, parts)
}
