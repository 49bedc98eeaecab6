//! Files with invalid content.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use burn_vae::ErrorKind::{self, Data, Io, Saved};
use burn_vae::data::{
    Channels, Fit, ImageFolder, Scaling, Table, TableFile, TableOptions, idx, mnist,
};
use burn_vae::train::History;
use burn_vae::{ConvVaeConfig, MlpVae, MlpVaeConfig, Result, saved};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::models::model;
use super::{Row, row};

/// A file with some content, and how to read it.
fn file<T: 'static>(
    what: &'static str,
    message: &'static str,
    content: impl Into<Vec<u8>>,
    read: fn(PathBuf) -> Result<T>,
) -> Row {
    of_kind(Data, what, message, content, read)
}

fn of_kind<T: 'static>(
    kind: ErrorKind,
    what: &'static str,
    message: &'static str,
    content: impl Into<Vec<u8>>,
    read: fn(PathBuf) -> Result<T>,
) -> Row {
    let content = content.into();
    row(what, kind, message, move || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        std::fs::write(&path, &content).unwrap();
        let result = read(path.clone());
        if let Err(error) = &result {
            assert!(error.to_string().contains("input"), "{error} does not name the file");
        }
        result
    })
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn table(path: PathBuf) -> Result<Table> {
    Table::read(path, &TableOptions::new())
}

/// A folder with a model, and how to damage it before it is read.
fn model_folder(
    what: &'static str,
    kind: ErrorKind,
    message: &'static str,
    harm: fn(&Path),
) -> Row {
    row(what, kind, message, move || {
        let dir = tempfile::tempdir().unwrap();
        saved::save(dir.path(), &MlpVaeConfig::mlp(6, [4], 2), &model()).unwrap();
        harm(dir.path());
        saved::load::<MlpVaeConfig>(dir.path(), &Device::flex())
    })
}

fn weights(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|e| e == "bpk")).unwrap()
}

/// Replaces a text in the configuration.
fn edit(dir: &Path, from: &str, to: &str) {
    let path = dir.join("config.json");
    let json = std::fs::read_to_string(&path).unwrap();
    assert!(json.contains(from), "{json} has no {from}");
    std::fs::write(path, json.replacen(from, to, 1)).unwrap();
}

/// A model ruined by training.
fn poisoned() -> MlpVae {
    struct Poison;
    impl ModuleMapper for Poison {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor * f32::NAN)
        }
    }
    model().map(&mut Poison)
}

/// Paths that are not regular files, so reading might never end.
#[cfg(unix)]
fn no_file<T: 'static>(
    what: &'static str,
    message: &'static str,
    make: fn(&Path),
    read: fn(PathBuf) -> Result<T>,
) -> Row {
    row(what, Data, message, move || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        make(&path);
        read(path)
    })
}

#[cfg(unix)]
fn no_files() -> Vec<Row> {
    fn pipe(path: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    fn device(path: &Path) {
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    }
    fn folder(path: &Path) {
        std::fs::create_dir(path).unwrap();
    }
    let (is_pipe, is_device, is_folder) = (
        "input: this is a pipe, not a file",
        "input: this is a device or a socket, not a file",
        "input: this is a folder, not a file",
    );
    vec![
        no_file("a pipe for a table", is_pipe, pipe, table),
        no_file("a device for a table", is_device, device, table),
        no_file("a folder for a table", is_folder, folder, table),
        no_file("a pipe for a table on disk", is_pipe, pipe, |path| {
            TableFile::open(path, &TableOptions::new())
        }),
        no_file("a pipe for IDX", is_pipe, pipe, idx::read),
        no_file("a device for IDX", is_device, device, idx::read_images),
        no_file("a pipe for a history", is_pipe, pipe, History::read_csv),
        no_file("a device for a history", is_device, device, History::read_csv),
        no_file("a pipe for a scaling", is_pipe, pipe, Scaling::load),
        no_file("a device for a scaling", is_device, device, Scaling::load),
        no_file(
            "a device for a model",
            "this is a device",
            |dir| {
                folder(dir);
                device(&dir.join("config.json"));
            },
            |path| saved::load::<MlpVaeConfig>(path, &Device::flex()),
        ),
        no_file(
            "a pipe in place of a configuration to replace",
            "config.json: this is a pipe, not a file",
            |dir| {
                folder(dir);
                pipe(&dir.join("config.json"));
            },
            |path| saved::save(path, &MlpVaeConfig::mlp(6, [4], 2), &model()),
        ),
    ]
}

#[cfg(not(unix))]
fn no_files() -> Vec<Row> {
    Vec::new()
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = of_files();
    rows.extend(no_files());
    rows
}

fn of_files() -> Vec<Row> {
    let header = |rest: &[u8]| [&[0, 0, 8][..], rest].concat();
    let one_image = header(&[3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8]);
    let bomb = gzip(&[&header(&[1, 0, 0, 0, 4])[..], &vec![0; 1 << 20]].concat());
    let mut cut = gzip(&one_image);
    cut.truncate(20);
    let mut flipped = gzip(&one_image);
    let last = flipped.len() - 5;
    flipped[last] ^= 1;
    vec![
        // IDX
        row("a file that is not there", Io, "nowhere.gz", || idx::read("nowhere.gz")),
        file("an empty file", "ends within the magic number", [], idx::read),
        file("a text for IDX", "not an IDX file", "hello world", idx::read),
        file("floats", "type 0x0d", [0, 0, 13, 1, 0, 0, 0, 0], idx::read),
        file("no dimensions", "no dimensions", [0, 0, 8, 0], idx::read),
        file(
            "half a header",
            "ends within the size of dimension 2 of 3",
            header(&[3, 0, 0, 0, 1, 0]),
            idx::read,
        ),
        file(
            "a header of 2^64 images",
            "absurd shape",
            header(&[2, 255, 255, 255, 255, 255, 255, 255, 255]),
            idx::read,
        ),
        file(
            "pixels missing",
            "truncated: the header promises 4 bytes",
            header(&[1, 0, 0, 0, 4, 1, 2]),
            idx::read,
        ),
        file("pixels left over", "more bytes follow", header(&[1, 0, 0, 0, 1, 1, 2]), idx::read),
        file("a bomb", "more bytes follow the 4", bomb, idx::read),
        file("half a gzip stream", "truncated", cut, idx::read),
        file("a gzip stream with a wrong checksum", "gzip stream", flipped, idx::read),
        file(
            "labels for images",
            "images have 3 dimensions",
            header(&[1, 0, 0, 0, 1, 1]),
            idx::read_images,
        ),
        file("images for labels", "labels have 1 dimension", one_image, idx::read_labels),
        file(
            "no image",
            "holds no image",
            header(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]),
            idx::read_images,
        ),
        row("a folder that is not there", Data, "no such folder", || mnist::Mnist::read("nowhere")),
        row("a folder without MNIST", Data, "is there", || {
            mnist::Mnist::read(tempfile::tempdir().unwrap().path())
        }),
        // Images
        row("images that are not there", Data, "no such folder", || {
            ImageFolder::open("nowhere", Channels::Grey, Fit::Reject)
        }),
        row("images of height 0", ErrorKind::Config, "0", || {
            ImageFolder::open(".", Channels::Grey, Fit::Resize { height: 0, width: 2 })
        }),
        row("a text for an image", Data, "broken.png", || {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("broken.png"), "no image").unwrap();
            ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject)
        }),
        row("half a photograph", Data, "broken.jpg: the JPEG is cut short", || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("broken.jpg");
            image::GrayImage::new(40, 40).save(&path).unwrap();
            let jpeg = std::fs::read(&path).unwrap();
            std::fs::write(path, &jpeg[..jpeg.len() - 9]).unwrap();
            ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject)
        }),
        row("a photograph of another format", Data, ".heic is not supported", || {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a.HEIC"), "").unwrap();
            ImageFolder::open(dir.path(), Channels::Grey, Fit::Reject)
        }),
        // Tables
        file("an empty table", "the file is empty", "", table),
        file("a table of a name", "no row follows", "a,b\n", table),
        file("a word for a number", "line 3", "a,b\n1,2\n3,four\n", table),
        file("NaN in a table", "line 2", "a,b\n1,NaN\n", table),
        file("a line with a cell too few", "line 3", "a,b\n1,2\n3\n", table),
        file("a line with a cell too many", "line 3", "a,b\n1,2\n3,4,5\n", table),
        file("bytes that are not text", "line 2", b"a,b\n1,\xff\xfe\n".to_vec(), table),
        file("lines of old Macs", "line 1 has a carriage return", "1,2\r3,4\r", table),
        file("a quoted line within a line", "line 2 has a carriage", "1,2\n\"3\",4\r5,6\n", table),
        file("a first row of missing values", "line 1, column 1: `?`", "?,?\n1,2\n", table),
        file("a name twice", "columns 1 and 3 are both called `a`", "a,b,a\n1,2,3\n", table),
        file("a column that is not there", "c", "a,b\n1,2\n", |path| {
            Table::read(path, &TableOptions::new().with_features(["a", "c"]))
        }),
        file("a table read as needed, with a word", "line 3", "a,b\n1,2\n3,four\n", |path| {
            TableFile::open(path, &TableOptions::new())
        }),
        file("a history of other columns", "those of a history", "a,b\n1,2\n", History::read_csv),
        // Scalings and models
        of_kind(Saved, "a scaling that is not JSON", "input", "scale", Scaling::load),
        of_kind(
            Saved,
            "a scaling by 0",
            "0",
            r#"{"shift":[0.0],"scale":[0.0],"clip":false}"#,
            Scaling::load,
        ),
        row("a model that is not there", Io, "config.json", || {
            saved::load::<MlpVaeConfig>("nowhere", &Device::flex())
        }),
        model_folder("half a configuration", Saved, "config.json", |dir| {
            let path = dir.join("config.json");
            let json = std::fs::read(&path).unwrap();
            std::fs::write(&path, &json[..json.len() / 2]).unwrap();
        }),
        model_folder("a configuration with an unknown activation", Saved, "relux", |dir| {
            edit(dir, "relu", "relux")
        }),
        model_folder("a configuration with an unknown field", Saved, "extra", |dir| {
            edit(dir, "\"hidden\"", "\"extra\": 1, \"hidden\"");
        }),
        model_folder("a configuration with a value below 0", Saved, "-2", |dir| {
            edit(dir, "\"latent_dim\": 2", "\"latent_dim\": -2");
        }),
        row("a configuration of other weights", Saved, "weights-", || {
            let dir = tempfile::tempdir().unwrap();
            saved::save(dir.path(), &MlpVaeConfig::mlp(6, [5], 2), &model()).unwrap();
            saved::load::<MlpVaeConfig>(dir.path(), &Device::flex())
        }),
        model_folder("weights that are not there", Io, "weights-", |dir| {
            std::fs::remove_file(weights(dir)).unwrap();
        }),
        model_folder("weights with a bit flipped", Saved, "the checksum is wrong", |dir| {
            let path = weights(dir);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            std::fs::write(path, bytes).unwrap();
        }),
        row("another kind of model", Saved, "config.json", || {
            let dir = tempfile::tempdir().unwrap();
            saved::save(dir.path(), &MlpVaeConfig::mlp(6, [4], 2), &model()).unwrap();
            saved::load::<ConvVaeConfig>(dir.path(), &Device::flex())
        }),
        row("weights of NaN", Saved, "weight 0 of encoder.", || {
            let dir = tempfile::tempdir().unwrap();
            saved::save(dir.path(), &MlpVaeConfig::mlp(6, [4], 2), &poisoned())
        }),
        row("a file for a folder", Io, "taken", || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("taken");
            std::fs::write(&path, "").unwrap();
            saved::save(path.join("model"), &MlpVaeConfig::mlp(6, [4], 2), &model())
        }),
    ]
}
