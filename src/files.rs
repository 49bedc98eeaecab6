//! Files that are either whole or not there.

use std::io::Write;
use std::path::Path;

use flate2::Crc;

use crate::error::{At, Result};

/// How the names of files begin that are being written, or that a crash has left half-written.
pub(crate) const UNFINISHED: &str = ".burn-vae-";

/// Writes a file so that a reader, or a crash, sees the old content or the new, nothing between.
/// Its folder is made if need be.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(dir)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(dir).at(dir)?;
    file.write_all(content).at(path)?;
    file.as_file().sync_all().at(path)?;
    file.persist(path).map_err(|error| error.error).at(path)?;
    // The new name reaches the disk before anything that is written after this.
    #[cfg(unix)]
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).at(dir)?;
    Ok(())
}

/// The checksum that tells whether a file is as it was written.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Makes a folder and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).at(path)
}
