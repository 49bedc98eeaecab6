//! Pictures. If one cannot be drawn, the run warns and continues.

use std::path::Path;

use burn_vae::Result;

/// Draws a picture into a file, or warns why it cannot be drawn.
pub fn draw(path: &Path, picture: impl FnOnce(&Path) -> Result<()>) {
    if let Err(error) = picture(path) {
        warn!("{} was not drawn: {error}", path.display());
    }
}
