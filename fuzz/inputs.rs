//! Targets that process untrusted bytes, for cargo-fuzz and briefly for the tests of the crate.
//!
//! Each target writes the bytes to a file as a user would have it, reads the file and, if that
//! succeeds, uses the result. An error is fine; a panic, an abort or an endless loop is a bug.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};
use burn_vae::conditional::ConditionalVaeConfig;
use burn_vae::data::{
    ByteImages, Channels, Examples, Fit, ImageFolder, Scaling, Table, TableFile, TableOptions, idx,
};
use burn_vae::flow::FlowsConfig;
use burn_vae::likelihood::{GaussianNllConfig, ScaleConfig};
use burn_vae::nn::ConvConfig;
use burn_vae::posterior::{Transformed, VectorQuantizedFamily};
use burn_vae::prior::{MixturePriorConfig, UniformCodes};
use burn_vae::train::{Existing, History, Progress, TrainConfig, Trainer};
use burn_vae::weights::{Allow, Names, StateDict};
use burn_vae::{
    BernoulliNll, ConvVaeConfig, MlpVae, MlpVaeConfig, Model, ModuleConfig, Seed, VaeConfig,
    presets, saved,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("idx", idx),
    ("table", table),
    ("image", image),
    ("scaling", scaling),
    ("history", history),
    ("config", config),
    ("weights", weights),
    ("state", state),
    ("checkpoint", checkpoint),
];

/// A temporary folder, one per process.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder to write to")).path()
}

fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, data).expect("a file to write to");
    path
}

/// Reads all examples of a set, one at a time.
fn read_all(examples: &dyn Examples) {
    let mut row = vec![0.0; examples.dim()];
    for index in 0..examples.len().min(1000) {
        if examples.read(&[index], &mut row).is_err() {
            return;
        }
    }
}

/// IDX files with images or labels, compressed or not.
pub fn idx(data: &[u8]) {
    let path = file("idx", data);
    let taken = idx::read(&path);
    if let Ok(images) = idx::read_images(&path) {
        assert!(taken.is_ok() && !images.is_empty());
        read_all(&images);
    }
    if let Ok(labels) = idx::read_labels(&path) {
        assert_eq!(Some(labels), taken.ok().map(|idx| idx.data));
    }
}

/// Tables. The first byte selects the options.
pub fn table(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let path = file("table", data);
    let mut options = TableOptions::new();
    if how & 1 > 0 {
        options = options.with_delimiter(['\t', ';'][usize::from(how >> 1 & 1)]);
    }
    if how & 4 > 0 {
        options = options.with_header(how & 8 > 0);
    }
    if how & 16 > 0 {
        options = options.with_label(0).with_max_rows(3);
    }
    let table = Table::read(&path, &options);
    let file = TableFile::open(&path, &options);
    // Both readers accept the same files and return the same values.
    match (table, file) {
        (Ok(table), Ok(file)) => {
            assert_eq!((table.len(), table.dim()), (file.len(), file.dim()));
            let mut row = vec![0.0; table.dim()];
            for index in 0..table.len().min(100) {
                file.read(&[index], &mut row).expect("a line that was read before");
                assert_eq!(row, table.values()[index * row.len()..][..row.len()]);
                assert!(row.iter().all(|value| value.is_finite()));
            }
            if let Ok(scaling) = Scaling::standard(&table) {
                scaling.apply(&mut row).expect("a row of the table");
            }
        }
        (Err(_), Err(_)) => {}
        (table, file) => panic!("{:?} and {:?}", table.map(|_| ()), file.map(|_| ())),
    }
}

/// Images in all formats. The first byte selects the extension.
pub fn image(data: &[u8]) {
    const EXTENSIONS: [&str; 6] = ["png", "jpg", "bmp", "gif", "pgm", "webp"];
    let Some((&how, data)) = data.split_first() else { return };
    let dir = folder().join("images");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    let path = dir.join("image").with_extension(EXTENSIONS[usize::from(how) % EXTENSIONS.len()]);
    std::fs::write(&path, data).expect("a file to write to");
    let channels = if how & 128 > 0 { Channels::Rgb } else { Channels::Grey };
    let fit = match how & 64 {
        0 => Fit::Resize { height: 5, width: 7 },
        _ => Fit::Reject,
    };
    if let Ok(folder) = ImageFolder::open(&dir, channels, fit)
        && folder.dim() <= 1 << 22
        && let Ok(images) = folder.load()
    {
        assert_eq!((images.len(), images.shape()), (1, folder.shape()));
    }
    std::fs::remove_file(path).expect("the file is there");
}

/// Scalings as JSON.
pub fn scaling(data: &[u8]) {
    if let Ok(scaling) = Scaling::load(file("scaling", data)) {
        let mut row = vec![0.5; scaling.dim()];
        scaling.apply(&mut row).expect("a row");
        scaling.invert(&mut row).expect("a row");
        scaling.shift_logits().ok();
    }
}

/// Histories as CSV.
pub fn history(data: &[u8]) {
    if let Ok(history) = History::read_csv(file("history", data)) {
        history.best();
        let again = folder().join("again");
        history.write_csv(&again).expect("a file to write to");
        let read = History::read_csv(&again).expect("what was just written");
        assert_eq!(format!("{read:?}"), format!("{history:?}"));
    }
}

type FlowVaeConfig = VaeConfig<
    burn_vae::encoder::MlpEncoderConfig<Transformed>,
    burn_vae::decoder::MlpDecoderConfig,
    GaussianNllConfig,
    MixturePriorConfig,
>;

type VqVaeConfig = VaeConfig<
    burn_vae::encoder::SpatialEncoderConfig<VectorQuantizedFamily>,
    burn_vae::decoder::SpatialDecoderConfig,
    BernoulliNll,
    UniformCodes,
>;

/// Configurations of models. A small one that can be built is built and used.
pub fn config(data: &[u8]) {
    fn build<C: ModuleConfig>(data: &[u8]) -> Option<C::Module> {
        // A model of a gigabyte is not the reader's fault.
        fn is_small(value: &serde_json::Value) -> bool {
            match value {
                serde_json::Value::Number(number) => {
                    number.as_f64().is_some_and(|n| n.abs() < 40.0)
                }
                serde_json::Value::Array(values) => values.len() < 6 && values.iter().all(is_small),
                serde_json::Value::Object(fields) => fields.values().all(is_small),
                _ => true,
            }
        }
        let small = serde_json::from_slice(data).is_ok_and(|value| is_small(&value));
        let config = serde_json::from_slice::<C>(data).ok().filter(|_| small)?;
        config.init(Seed::new(0), &Device::flex()).ok()
    }
    if let Some(vae) = build::<MlpVaeConfig>(data) {
        let x = Tensor::zeros([2, vae.data_dim()], &Device::flex());
        vae.reconstruct(x).expect("rows of the right length");
    }
    if let Some(vae) = build::<ConvVaeConfig>(data) {
        vae.sample(1, 0).expect("a sample");
    }
    if let Some(vae) = build::<FlowVaeConfig>(data) {
        vae.sample(1, 0).expect("a sample");
    }
    // Not used: its images may be large in between.
    build::<VqVaeConfig>(data);
    build::<ConditionalVaeConfig>(data);
}

fn small() -> MlpVaeConfig {
    MlpVaeConfig::mlp(6, [4], 2)
}

fn small_model() -> MlpVae {
    small().init(Seed::new(0), &Device::flex()).expect("a model of six numbers")
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(data);
    crc.sum()
}

/// Weights, with the checksum that gets them past the first check.
pub fn weights(data: &[u8]) {
    let dir = folder().join("model");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    let crc = crc32(data);
    let config = serde_json::to_value(small()).expect("plain data");
    let json = serde_json::json!({
        "burn_vae": "0",
        "weights_crc32": crc,
        "config_crc32": crc32(config.to_string().as_bytes()),
        "config": config,
    });
    std::fs::write(dir.join("config.json"), json.to_string()).expect("a file to write to");
    let path = dir.join(format!("weights-{crc:08x}.bpk"));
    std::fs::write(&path, data).expect("a file to write to");
    if let Ok((_, vae)) = saved::load::<MlpVaeConfig>(&dir, &Device::flex()) {
        assert_eq!(vae.sample(2, 0).expect("two samples").dims(), [2, 6]);
    }
    std::fs::remove_file(path).expect("the file is there");
}

/// Weights of other frameworks.
pub fn state(data: &[u8]) {
    let Ok(state) = StateDict::read(file("state", data)) else { return };
    let vae = small().init(Seed::new(0), &Device::flex()).expect("a small model");
    let everything = Allow { missing: true, unused: true, other_shapes: true };
    let names = Names::pytorch_example();
    if let Ok((vae, report)) = state.load(vae, &names, everything) {
        assert!(!report.loaded.is_empty());
        assert_eq!(vae.sample(2, 0).expect("two samples").dims(), [2, 6]);
    }
}

/// The files of the checkpoint into which [`checkpoint`] puts its bytes, by name.
fn template() -> &'static [(String, Vec<u8>)] {
    static TEMPLATE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder to write to");
        fit(dir.path(), 1).expect("a training of two steps");
        let files = std::fs::read_dir(dir.path()).expect("the folder is there");
        let files = files.map(|file| file.expect("a file").path());
        files.map(|path| (name_of(&path), std::fs::read(&path).expect("a file"))).collect()
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn fit(dir: &Path, epochs: usize) -> burn_vae::Result<()> {
    let images = ByteImages::new((0..60).collect::<Vec<u8>>(), [2, 3, 1])?;
    let config = TrainConfig { epochs, batch_size: 5, ..TrainConfig::default() };
    let images: Arc<dyn Examples> = Arc::new(images);
    Trainer::new(config)
        .with_progress(Progress::Silent)
        .with_checkpoints(dir, Existing::Resume)
        .fit(small_model(), images.clone(), images)?;
    Ok(())
}

/// Removes the white space between the parts of JSON, the form that a checkpoint's checksum covers.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let mut compact = String::new();
    for c in json.chars() {
        if quoted || !c.is_ascii_whitespace() {
            compact.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
    }
    compact
}

/// Checkpoints of a training. The first byte selects the file that the other bytes replace;
/// checksums are adjusted to match.
pub fn checkpoint(data: &[u8]) {
    let Some((&which, data)) = data.split_first() else { return };
    let dir = folder().join("checkpoint");
    std::fs::create_dir_all(&dir).expect("a folder to write to");
    let files = template();
    let parts = files.iter().filter(|(name, _)| name.ends_with(".bpk")).collect::<Vec<_>>();
    for (name, content) in files {
        std::fs::write(dir.join(name), content).expect("a file to write to");
    }
    let state = files.iter().find(|(name, _)| name == "state.json").expect("a state");
    let text = match parts.get(usize::from(which) % (parts.len() + 1)) {
        // The state itself.
        None => String::from_utf8_lossy(data).into_owned(),
        Some((name, content)) => {
            std::fs::write(dir.join(name), data).expect("a file to write to");
            let text = std::str::from_utf8(&state.1).expect("JSON");
            text.replace(&crc32(content).to_string(), &crc32(data).to_string())
        }
    };
    let text = compact(&text);
    let sealed = match text.split_once(r#","state":"#) {
        Some((_, state)) => {
            let state = state.strip_suffix('}').unwrap_or(state);
            format!(r#"{{"crc32":{},"state":{state}}}"#, crc32(state.as_bytes()))
        }
        None => text,
    };
    std::fs::write(dir.join("state.json"), sealed).expect("a file to write to");
    fit(&dir, 1).ok();
    std::fs::remove_dir_all(&dir).expect("the folder is there");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

/// Seeds of the fuzzer: valid files of each kind.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let json = |value: &dyn Fn() -> serde_json::Result<Vec<u8>>| value().expect("plain data");
    let text = |how: u8, text: &str| [&[how][..], text.as_bytes()].concat();
    match target {
        "idx" => {
            let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[9; 12]].concat();
            let labels = [&[0, 0, 8, 1, 0, 0, 0, 4][..], &[1, 2, 3, 4]].concat();
            vec![gzip(&images), gzip(&labels), images, labels]
        }
        "table" => vec![
            text(0, "a,b,c\n1,2.5,-3e4\n0.1,\"7\",8\n"),
            text(1, "1\t2\n3\t4\n"),
            text(3, "\u{feff}x;y\r\n1;2\r\n"),
            text(12 + 16, "label,a\n3,1.5\n0,2\n"),
        ],
        "image" => {
            let mut seeds = Vec::new();
            let picture = image::RgbImage::from_fn(9, 8, |x, y| image::Rgb([x as u8, y as u8, 7]));
            let picture = image::DynamicImage::from(picture);
            let grey = image::DynamicImage::from(picture.to_luma8());
            use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, WebP};
            for (how, format) in [Png, Jpeg, Bmp, Gif, Pnm, WebP].into_iter().enumerate() {
                for picture in [&picture, &grey] {
                    let mut bytes = std::io::Cursor::new(vec![how as u8]);
                    bytes.set_position(1);
                    if picture.write_to(&mut bytes, format).is_ok() {
                        seeds.push(bytes.into_inner());
                    }
                }
            }
            seeds
        }
        "state" => vec![
            include_bytes!("../tests/fixtures/weights/example.pt").to_vec(),
            include_bytes!("../tests/fixtures/weights/example_old.pt").to_vec(),
            include_bytes!("../tests/fixtures/weights/example.safetensors").to_vec(),
            include_bytes!("../tests/fixtures/weights/encoder.weights.h5").to_vec(),
            include_bytes!("../tests/fixtures/weights/decoder.keras").to_vec(),
        ],
        "scaling" => vec![
            br#"{"shift":[0.5,-1e3],"scale":[2.0,0.25],"clip":false}"#.to_vec(),
            br#"{"shift":[0.5],"scale":[1],"clip":true}"#.to_vec(),
        ],
        "history" => {
            let header = "epoch,train_nelbo,train_distortion,train_divergence,valid_nelbo,valid_distortion,valid_divergence,\
                          at_full_weight,active_units,used_codes,code_perplexity,skipped_steps,train_seconds,valid_seconds";
            let line = "1,200.5,190,10.5,201,190.25,10.75,true,2,40,31.5,0,1.5,0.25";
            vec![
                format!("{header}\n{line}\n").into_bytes(),
                format!("{header},divergence_1,divergence_2\n{line},3.5,7.25\n").into_bytes(),
            ]
        }
        "config" => {
            let flows = FlowsConfig::planar(1).then(FlowsConfig::inverse_autoregressive(1, [3]));
            let MlpVaeConfig { encoder, mut decoder, .. } = small();
            decoder.output_dim = 12;
            let flow = FlowVaeConfig {
                encoder: encoder.with_posterior(Transformed::new(flows)),
                decoder,
                likelihood: GaussianNllConfig::new(ScaleConfig::predicted()),
                prior: MixturePriorConfig::new(2, 2),
            };
            let conv = ConvVaeConfig::conv(ConvConfig::batch_norm([9, 8, 1], 2));
            vec![
                json(&|| serde_json::to_vec(&small())),
                json(&|| serde_json::to_vec(&conv)),
                json(&|| serde_json::to_vec(&flow)),
                json(&|| serde_json::to_vec(&presets::vq_vae([8, 8, 1], 4, 8, 2))),
                json(&|| serde_json::to_vec(&ConditionalVaeConfig::mlp(5, 2, [4], 2))),
            ]
        }
        "weights" => {
            let dir = tempfile::tempdir().expect("a folder to write to");
            saved::save(dir.path(), &small(), &small_model()).expect("a model to write");
            let files = std::fs::read_dir(dir.path()).expect("the folder is there");
            let paths = files.map(|file| file.expect("a file").path());
            let paths = paths.filter(|path| name_of(path).ends_with(".bpk"));
            paths.map(|path| std::fs::read(path).expect("a file")).collect()
        }
        "checkpoint" => {
            let files = template();
            let parts = files.iter().filter(|(name, _)| name.ends_with(".bpk")).enumerate();
            let state = files.iter().filter(|(name, _)| name == "state.json").map(|file| (3, file));
            let all = parts.chain(state);
            all.map(|(which, (_, content))| [&[which as u8][..], content].concat()).collect()
        }
        _ => Vec::new(),
    }
}
