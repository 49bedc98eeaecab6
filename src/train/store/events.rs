//! Event files of TensorBoard: TensorFlow's record format around its protocol buffers.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::history::Epoch;
use crate::error::{At, Result};
use crate::files::create_dir;

const SPLITS: [&str; 2] = ["train", "validation"];

/// Event files of a run, one for training and one for validation, in folders of these names. TensorBoard
/// draws a term of both into one chart.
pub(in crate::train) struct Events {
    dir: PathBuf,
    files: Option<[(PathBuf, File); 2]>,
}

impl Events {
    /// Prepares to write to a folder, without creating it.
    pub(in crate::train) fn new(dir: PathBuf) -> Self {
        Self { dir, files: None }
    }

    /// Creates the folders.
    pub(in crate::train) fn create_folders(&self) -> Result<()> {
        SPLITS.iter().try_for_each(|split| create_dir(&self.dir.join(split)))
    }

    /// Adds the terms of an epoch. The first one creates new files, also in a resumed run: TensorBoard
    /// reads all files of a folder.
    pub(in crate::train) fn add(&mut self, epoch: &Epoch) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = now.as_secs_f64();
        if self.files.is_none() {
            let name = format!("events.out.tfevents.{}.{}", now.as_secs(), std::process::id());
            let [train, valid] =
                SPLITS.map(|split| start(&self.dir.join(split), &name, time, epoch.epoch as u64));
            self.files = Some([train?, valid?]);
        }
        let counts = [
            ("active units", epoch.active_units.map(|units| units as f64)),
            ("used codes", epoch.used_codes.map(|codes| codes as f64)),
            ("code perplexity", epoch.code_perplexity),
        ];
        let counts = counts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let train = [
            ("nelbo", epoch.train_nelbo),
            ("distortion", epoch.train_distortion),
            ("divergence", epoch.train_divergence),
            ("seconds", epoch.train_seconds),
        ];
        let valid = [
            ("nelbo", epoch.valid_nelbo),
            ("distortion", epoch.valid_distortion),
            ("divergence", epoch.valid_divergence),
        ];
        let scalars = [train.to_vec(), valid.into_iter().chain(counts).collect()];
        for ((path, file), scalars) in self.files.iter_mut().flatten().zip(scalars) {
            let event = record(&event(time, epoch.epoch as u64, &scalars));
            file.write_all(&event).at(&*path)?;
        }
        Ok(())
    }
}

/// Creates a file with the events that all files begin with: a version, and the step from which on this
/// file supersedes those before it. Its name is numbered if it is taken, as by another run of this process
/// in the same second.
fn start(dir: &Path, name: &str, time: f64, step: u64) -> Result<(PathBuf, File)> {
    create_dir(dir)?;
    let mut path = dir.join(name);
    let mut number = 1;
    let mut file = loop {
        match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                path = dir.join(format!("{name}.{number}"));
                number += 1;
            }
            file => break file.at(&path)?,
        }
    };
    let version = [message(1, &time.to_le_bytes(), FIXED_64), bytes(3, b"brain.Event:2")].concat();
    let session = message(1, &varint(1), VARINT);
    let session = [
        message(1, &time.to_le_bytes(), FIXED_64),
        message(2, &varint(step), VARINT),
        bytes(7, &session),
    ];
    file.write_all(&[record(&version), record(&session.concat())].concat()).at(&path)?;
    Ok((path, file))
}

/// Frames a message: its length, the checksum of the length, the message and its checksum.
fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), message, &checksum(message)].concat()
}

/// CRC-32C, rotated and shifted as TensorFlow does.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// An `Event` with a `Summary` of scalars.
fn event(time: f64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let scalar = |(tag, value): &(&str, f64)| {
        let value = message(2, &(*value as f32).to_le_bytes(), FIXED_32);
        bytes(1, &[bytes(1, tag.as_bytes()), value].concat())
    };
    let summary = scalars.iter().flat_map(scalar).collect::<Vec<_>>();
    let step = message(2, &varint(step), VARINT);
    [message(1, &time.to_le_bytes(), FIXED_64), step, bytes(5, &summary)].concat()
}

/// Wire types of protocol buffers.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

/// A field: its number and wire type, then its content.
fn message(field: u8, content: &[u8], wire_type: u8) -> Vec<u8> {
    [&[field << 3 | wire_type], content].concat()
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    message(field, &[varint(content.len() as u64), content.to_vec()].concat(), LENGTH_DELIMITED)
}

/// Seven bits per byte, the lowest first; the upper bit says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        start: String,
        events: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        wall_time: f64,
        step: u64,
        scalars: Vec<(String, f64)>,
        record: String,
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn records_are_those_of_tensorflow() {
        let golden = include_str!("../../../tests/fixtures/events.json");
        let golden = serde_json::from_str::<Golden>(golden).unwrap();
        for case in golden.events {
            let scalars = case.scalars.iter().map(|(tag, value)| (&**tag, *value));
            let event = event(case.wall_time, case.step, &scalars.collect::<Vec<_>>());
            assert_eq!(hex(&record(&event)), case.record);
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["file", "file.1", "file.2"] {
            let (path, _) = start(&dir.path().join("sub"), "file", 2.0, 3).unwrap();
            assert_eq!(path, dir.path().join("sub").join(name));
            assert_eq!(hex(&std::fs::read(path).unwrap()), golden.start);
        }
    }
}
