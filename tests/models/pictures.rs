//! Pictures and summaries: what is drawn, and where.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_vae::summary::Summary;
use burn_vae::train::{Epoch, History};
use burn_vae::viz::{Bars, ImageGrid, Scatter, curves, scatter};
use burn_vae::{ErrorKind, MlpVaeConfig, ModuleConfig, Seed};
use image::{Rgb, RgbImage};

fn read(path: &std::path::Path) -> RgbImage {
    image::open(path).unwrap().into_rgb8()
}

fn share(picture: &RgbImage, colour: impl Fn(&Rgb<u8>) -> bool) -> f64 {
    picture.pixels().filter(|pixel| colour(pixel)).count() as f64 / picture.pixels().len() as f64
}

#[test]
fn images_stand_in_their_cells() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grid.png");
    let device = Device::flex();
    // A row of black and white, a row of white and grey. Values outside [0, 1] are clamped.
    let images = Tensor::<2>::from_data([[-1.0; 4], [1.0; 4], [7.0; 4], [0.5; 4]], &device);
    ImageGrid::new(images, [2, 2, 1], 2).unwrap().save(&path).unwrap();
    let picture = read(&path);
    let (w, h) = picture.dimensions();
    let at = |x: u32, y: u32| picture.get_pixel(x, y).0[0];
    assert_eq!([at(w / 4 + 4, h / 4 + 4), at(3 * w / 4 - 4, h / 4 + 4)], [0, 255]);
    assert_eq!([at(w / 4 + 4, 3 * h / 4 - 4), at(3 * w / 4 - 4, 3 * h / 4 - 4)], [255, 128]);
}

#[test]
fn colour_images_keep_their_colours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("colour.png");
    let image = Tensor::<2>::from_data([[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]], &Device::flex());
    ImageGrid::new(image, [1, 2, 3], 1).unwrap().save(&path).unwrap();
    let picture = read(&path);
    let red = share(&picture, |pixel| pixel.0 == [255, 0, 0]);
    let blue = share(&picture, |pixel| pixel.0 == [0, 0, 255]);
    assert!(red > 0.0 && red == blue, "{red} {blue}");
}

/// Images that are neither grey nor RGB show their channels side by side.
#[test]
fn channels_of_any_number_are_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("channels.png");
    for channels in [2, 4, 5] {
        // Channel c of every pixel is c / 5, in two rows and one column.
        let values = (0..2 * channels).map(|i| (i % channels) as f32 / 5.0).collect::<Vec<_>>();
        let image = Tensor::<1>::from_data(&values[..], &Device::flex()).unsqueeze_dim::<2>(0);
        ImageGrid::new(image, [2, 1, channels], 1).unwrap().save(&path).unwrap();
        let picture = read(&path);
        // A margin of 12 pixels, then 8 for each pixel of the image.
        let row = |y| {
            let at = move |c: usize| (12 + 8 * c as u32 + 4, y);
            (0..channels).map(at).map(|(x, y)| picture.get_pixel(x, y).0).collect::<Vec<_>>()
        };
        let expected = (0..channels).map(|c| [51 * c as u8; 3]).collect::<Vec<_>>();
        assert_eq!(row(16), expected);
        assert_eq!(row(24), expected);
    }
}

#[test]
fn labels_take_their_place_beside_the_grid() {
    let dir = tempfile::tempdir().unwrap();
    let images = || Tensor::<2>::zeros([4, 4], &Device::flex());
    let size = |grid: ImageGrid| {
        let path = dir.path().join("labels.png");
        grid.save(&path).unwrap();
        let picture = read(&path);
        let text = share(&picture, |pixel| pixel.0 != [0; 3] && pixel.0 != [255; 3]);
        (picture.dimensions(), text)
    };
    let (plain, no_text) = size(ImageGrid::new(images(), [2, 2, 1], 2).unwrap());
    let labelled = ImageGrid::new(images(), [2, 2, 1], 2).unwrap();
    let (labelled, text) =
        size(labelled.with_rows("z₂", ["1.0", "-1.0"]).with_columns("z₁", ["-1.0", "1.0"]));
    assert!(labelled.0 > plain.0 && labelled.1 > plain.1, "{plain:?} {labelled:?}");
    assert!(no_text == 0.0 && text > 0.0, "the text is missing: {text}");
}

#[test]
fn invalid_pictures_are_refused() {
    let device = Device::flex();
    let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &device);
    for (images, shape, columns, reason) in [
        (zeros([2, 5]), [2, 2, 1], 2, "rows of 5 values are not images of shape"),
        (zeros([2, 8]), [2, 2, 3], 2, "rows of 8 values are not images of shape"),
        (zeros([2, 4]), [2, 0, 1], 2, "are not images of shape"),
        (zeros([2, 4]), [usize::MAX, 2, 1], 2, "are not images of shape"),
        // Each is enlarged eightfold, which makes 131 million pixels.
        (zeros([2_000_000, 1]), [1, 1, 1], 1000, "are too many for one picture"),
        (zeros([3, 4]), [2, 2, 1], 2, "3 images do not fill rows of 2"),
        (zeros([3, 4]), [2, 2, 1], 0, "3 images do not fill rows of 0"),
    ] {
        let error = ImageGrid::new(images, shape, columns).err().expect(reason);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
    }
    for (points, labels, reason) in [
        (vec![], vec![], "0 points with 0 labels"),
        (vec![[0.0, 1.0]], vec![1, 2], "1 points with 2 labels"),
        (vec![[0.0, f32::NAN]], vec![1], "point 0 is"),
    ] {
        let error = scatter(&points, &labels, "/nowhere.png").expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
    }
    let error = curves(&History::default(), "/nowhere.png").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Picture);
}

#[test]
fn points_have_the_colours_of_their_classes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/scatter.png");
    // Also far out, and all in one place.
    scatter(&[[3e38, -3e38], [0.0, 0.0]], &[3, 200], &path).unwrap();
    scatter(&[[1.0, 1.0]; 4], &[0; 4], &path).unwrap();
    let points = (0..500).map(|i| [(i % 25) as f32, (i / 25) as f32]).collect::<Vec<_>>();
    scatter(&points, &[4; 500], &path).unwrap();
    let bluish = share(&read(&path), |&Rgb([r, g, b])| b > 200 && r < 215 && g > r);
    assert!(bluish > 0.005, "{bluish}");
}

#[test]
fn curves_have_two_colours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("curves.png");
    let csv = dir.path().join("history.csv");
    let header = "epoch,train_nelbo,train_distortion,train_divergence,valid_nelbo,valid_distortion,valid_divergence,\
                  at_full_weight,active_units,used_codes,code_perplexity,skipped_steps,train_seconds,valid_seconds";
    std::fs::write(
        &csv,
        format!(
            "{header}\n1,200,190,10,180,170,10,true,2,,,0,1,1\n2,170,160,10,160,150,10,true,,40,31.5,3,1,1\n"
        ),
    )
    .unwrap();
    let history = History::read_csv(&csv).unwrap();
    assert_eq!(history.epochs.iter().map(|e: &Epoch| e.epoch).collect::<Vec<_>>(), [1, 2]);
    curves(&history, &path).unwrap();
    let picture = read(&path);
    assert!(share(&picture, |pixel| pixel.0 == [0x00, 0x72, 0xb2]) > 0.0005);
    assert!(share(&picture, |pixel| pixel.0 == [0xd5, 0x5e, 0x00]) > 0.0005);
}

#[test]
fn a_summary_counts_as_keras_does() {
    let vae = MlpVaeConfig::mlp(784, [256], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let summary = Summary::of(&vae);
    assert_eq!(summary.encoder_params().total(), 201_988);
    assert_eq!(summary.decoder_params().total(), 202_256);
    assert_eq!((summary.params().trainable, summary.params().fixed), (404_244, 0));
    for text in ["201,988", "202,256", "404,244", "[batch, 256]", "log_var"] {
        assert!(summary.to_string().contains(text), "{summary}");
    }

    let mut frozen = vae;
    frozen.decoder = frozen.decoder.freeze();
    let summary = Summary::of(&frozen);
    assert_eq!((summary.params().trainable, summary.params().fixed), (201_988, 202_256));
}

#[test]
fn the_diagram_shows_the_flow() {
    let vae = MlpVaeConfig::mlp(8, [4, 3], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let dot = Summary::of(&vae).to_dot();
    for edge in [
        r#""x" -> "encoder.hidden_1""#,
        r#""encoder.hidden_1" -> "encoder.hidden_2""#,
        r#""encoder.hidden_2" -> "encoder.mean""#,
        r#""encoder.hidden_2" -> "encoder.log_var""#,
        r#""encoder.mean" -> "divergence""#,
        r#""encoder.log_var" -> "divergence""#,
        r#""prior" -> "divergence""#,
        r#""divergence" -> "z""#,
        r#""eps" -> "z""#,
        r#""z" -> "decoder.hidden_1""#,
        r#""decoder.hidden_2" -> "decoder.output""#,
        r#""decoder.output" -> "nll""#,
        r#""x" -> "nll""#,
    ] {
        assert!(dot.contains(edge), "{edge} is missing: {dot}");
    }
    assert_eq!(dot.matches("->").count(), 14, "{dot}");

    let linear = MlpVaeConfig::mlp(8, [], 2).init(Seed::new(0), &Device::flex()).unwrap();
    let dot = Summary::of(&linear).to_dot();
    assert!(dot.contains(r#""x" -> "encoder.log_var""#), "{dot}");
    assert!(!dot.contains(r#""encoder.mean" -> "encoder.log_var""#), "{dot}");
}

#[test]
fn axes_have_the_given_titles() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scatter.png");
    let (points, labels) = ([[0.0, 1.0], [2.0, 3.0]], [0, 1]);
    scatter(&points, &labels, &path).unwrap();
    let plain = read(&path);
    Scatter::new(&points, &labels).unwrap().with_axes(["z₁", "z₂"]).save(&path).unwrap();
    assert_eq!(plain, read(&path));
    let titles = ["PC 1 (43 % of variance)", "PC 2 (21 % of variance)"];
    Scatter::new(&points, &labels).unwrap().with_axes(titles).save(&path).unwrap();
    let dark = |picture: &RgbImage| share(picture, |pixel| pixel.0[0] < 100);
    assert!(dark(&read(&path)) > dark(&plain));
}

#[test]
fn bars_are_as_high_as_their_values() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/bars.png");
    let blue = |pixel: &Rgb<u8>| pixel.0 == [0x00, 0x72, 0xb2];
    // The heights of the blue columns at the middle of each of three bars.
    let heights = |bars: Bars| {
        bars.save(&path).unwrap();
        let picture = read(&path);
        let height =
            |x: u32| (0..picture.height()).filter(|&y| blue(picture.get_pixel(x, y))).count();
        let columns = (0..picture.width()).map(height).collect::<Vec<_>>();
        let runs = columns.chunk_by(|a, b| (*a > 0) == (*b > 0));
        runs.filter(|run| run[0] > 0).map(|run| run[run.len() / 2]).collect::<Vec<_>>()
    };
    let bars = || Bars::new("KL (nats)", &[1.0, 4.0, 2.0]).unwrap();
    let found = heights(bars());
    assert_eq!(found.len(), 3);
    for (found, expected) in found.iter().zip([found[1] / 4, found[1], found[1] / 2]) {
        assert!(found.abs_diff(expected) <= 3, "{found}, not {expected}");
    }
    let sorted = heights(bars().sorted());
    assert_eq!(sorted, [found[1], found[2], found[0]]);

    // Hollow bars have less ink, whatever the order of the builder calls.
    let flags = [true, false, true];
    bars().with_active(&flags).unwrap().sorted().save(&path).unwrap();
    let hollow = read(&path);
    bars().sorted().with_active(&flags).unwrap().save(&path).unwrap();
    assert_eq!(hollow, read(&path));
    bars().with_active(&[true; 3]).unwrap().save(&path).unwrap();
    assert!(share(&hollow, blue) < 0.7 * share(&read(&path), blue));

    // Zero, negative, very large, and more bars than can be numbered.
    for values in [vec![0.0; 2], vec![-1.0, 0.5], vec![1e299, -1e299], vec![0.1; 3000]] {
        Bars::new("KL (nats)", &values).unwrap().save(&path).unwrap();
    }
    for (values, reason) in [
        (vec![], "no latent dimension"),
        (vec![0.0, f64::NAN], "dimension 2 has the value NaN"),
        (vec![f64::MAX], "dimension 1 has the value"),
    ] {
        let error = Bars::new("KL (nats)", &values).err().expect(reason);
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
    }
    let error = bars().with_active(&[true]).err().unwrap();
    assert!(error.to_string().contains("3 bars, but 1 active flags"), "{error}");
}

/// One box for each box of the diagram; none overlaps another.
#[test]
fn a_drawn_summary_has_every_box_beside_the_others() {
    use burn_vae::ConvVaeConfig;
    use burn_vae::nn::ConvConfig;

    let device = Device::flex();
    let mlp = MlpVaeConfig::mlp(784, [32, 16], 2).init(Seed::new(0), &device).unwrap();
    let conv = ConvVaeConfig::conv(ConvConfig::batch_norm([28, 28, 1], 2));
    let conv = conv.init(Seed::new(0), &device).unwrap();
    for summary in [Summary::of(&mlp), Summary::of(&conv)] {
        let svg = summary.to_svg();
        let number = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse::<f64>().unwrap()
        };
        let boxes = svg
            .lines()
            .filter(|line| line.starts_with("<rect"))
            .map(|line| ["x", "y", "width", "height"].map(|name| number(line, name)));
        let boxes = boxes.collect::<Vec<_>>();
        assert_eq!(boxes.len(), summary.to_dot().matches("[label=").count());
        for (i, [x, y, width, height]) in boxes.iter().enumerate() {
            for [other_x, other_y, other_width, _] in &boxes[..i] {
                let is_apart = x + width < *other_x || other_x + other_width < *x;
                assert!(is_apart || (y - other_y).abs() > *height, "{svg}");
            }
        }
        assert_eq!(svg.matches("<path d=\"M").count() - 1, summary.to_dot().matches("->").count());
    }
}
