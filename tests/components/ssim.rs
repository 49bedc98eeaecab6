//! Structural similarity against scikit-image and pytorch-msssim; `tests/fixtures/ssim.py` generates the
//! values.

use burn::tensor::{Device, Tensor, TensorData};
use burn_vae::ErrorKind;
use burn_vae::eval::{SCALE_WEIGHTS, ms_ssim, ssim};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    shape: [usize; 3],
    x: String,
    y: String,
    weights: Option<Vec<f64>>,
    value: f64,
}

/// Two copies of an image, one per row.
fn image(kind: &str, [height, width, channels]: [usize; 3]) -> Tensor<2> {
    let mut values = Vec::new();
    for r in 0..height {
        for c in 0..width {
            for k in 0..channels {
                let wave = 0.3 * r as f64 + 0.11 * (c * (k + 1)) as f64;
                let check = ((r / 3 + c / 5 + k) % 2) as f64 * 0.9;
                values.push(match kind {
                    "waves" => 0.5 + 0.4 * wave.sin(),
                    "shifted" => 0.5 + 0.4 * (wave + 0.4).sin(),
                    "checks" => check,
                    "inverse" => 1.0 - check,
                    _ => 0.25,
                } as f32);
            }
        }
    }
    let len = values.len();
    Tensor::from_data(TensorData::new::<f32, _>(values.repeat(2), [2, len]), &Device::flex())
}

fn values(x: Tensor<1>) -> Vec<f64> {
    x.into_data().iter().collect()
}

#[test]
fn similarities_are_those_of_the_references() {
    let cases = include_str!("../fixtures/ssim.json");
    for case in serde_json::from_str::<Vec<Case>>(cases).unwrap() {
        let [x, y] = [&case.x, &case.y].map(|kind| image(kind, case.shape));
        let found = match &case.weights {
            None => ssim(x, y, case.shape),
            Some(weights) => ms_ssim(x, y, case.shape, weights),
        };
        for found in values(found.unwrap()) {
            // Variances are differences of squares, in 32 bits here.
            assert!((found - case.value).abs() < 2e-5, "{:?}: {found} {}", case.shape, case.value);
        }
    }
}

#[test]
fn equal_images_have_a_similarity_of_one() {
    for kind in ["waves", "checks", "flat"] {
        let shape = [176, 180, 1];
        let x = image(kind, shape);
        for found in [
            ssim(x.clone(), x.clone(), shape).unwrap(),
            ms_ssim(x.clone(), x, shape, &SCALE_WEIGHTS).unwrap(),
        ] {
            assert!(values(found).iter().all(|value| (value - 1.0).abs() < 1e-5));
        }
    }
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let x = image("waves", [12, 12, 1]);
    let error = |shape| {
        let error = ssim(x.clone(), x.clone(), shape).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    assert!(error([12, 13, 1]).contains("must be rows of images of shape [12, 13, 1]"));
    assert!(error([usize::MAX, 2, 2]).contains("must be rows of images"));
    assert!(error([9, 16, 1]).contains("at least 11 pixels"));
    let error = ms_ssim(x.clone(), x.clone(), [12, 12, 1], &[0.5, 0.5]).unwrap_err().to_string();
    assert!(error.contains("2 scales need at least 22 pixels"), "{error}");
    for weights in [&[][..], &[-1.0], &[f64::NAN]] {
        assert!(ms_ssim(x.clone(), x.clone(), [12, 12, 1], weights).is_err());
    }
    let many = vec![0.1; 100];
    assert!(ms_ssim(x.clone(), x, [12, 12, 1], &many).is_err());
}
