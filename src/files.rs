//! Atomic writes, and reads restricted to regular files.

use std::fs::{File, FileType};
use std::io::Write;
use std::path::Path;

use flate2::Crc;

use crate::error::{At, Error, Result};

/// The name prefix of files that are being written or were left unfinished by a crash.
pub(crate) const UNFINISHED: &str = ".burn-vae-";

/// Writes a file atomically: readers and crashes see either the old content or the new. Creates its
/// folder if necessary.
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
    // The new name reaches the disk before later writes.
    #[cfg(unix)]
    File::open(dir).and_then(|dir| dir.sync_all()).at(dir)?;
    Ok(())
}

/// The checksum that detects damaged files.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Creates a folder and its parents.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).at(path)
}

/// Checks that a file is a regular one. Others could block a reader: a pipe until someone writes to
/// it, a device such as `/dev/zero` until memory is full.
pub(crate) fn check_regular(path: &Path) -> Result<()> {
    let found = std::fs::metadata(path).at(path)?.file_type();
    if !found.is_file() {
        let what = match found {
            found if found.is_dir() => "a folder",
            found if is_pipe(found) => "a pipe",
            _ => "a device or a socket",
        };
        return Err(Error::data(path, format!("this is {what}, not a file")));
    }
    Ok(())
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> Result<File> {
    check_regular(path)?;
    File::open(path).at(path)
}

/// Opens a file that is read once from start to end: a regular file, or a pipe passed by a shell as
/// in `<(zcat table.csv.gz)`. Such a pipe has a writer; any other may never get one.
pub(crate) fn open_stream(path: &Path) -> Result<File> {
    let is_handed_over =
        ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    match std::fs::metadata(path) {
        Ok(found) if is_handed_over && is_pipe(found.file_type()) => File::open(path).at(path),
        _ => open(path),
    }
}

/// Reads a regular file into memory.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut open(path)?, &mut bytes).at(path)?;
    Ok(bytes)
}

#[cfg(unix)]
fn is_pipe(found: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found)
}

#[cfg(not(unix))]
fn is_pipe(_found: FileType) -> bool {
    false
}
