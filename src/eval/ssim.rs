use burn::tensor::{Device, Tensor, TensorData};

use crate::error::{Error, ErrorKind, Result};

/// The weights of the five scales of Wang, Simoncelli and Bovik (2003) for [`ms_ssim`].
pub const SCALE_WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// Width of the Gaussian window in pixels, and its standard deviation.
const WINDOW: usize = 11;
const DEVIATION: f64 = 1.5;
/// `(K1 L)^2` and `(K2 L)^2`, for values from 0 to `L = 1`.
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// Structural similarity of images (Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13), 1 for equal ones.
///
/// With the means `m`, variances `v` and covariance `c` of both images in a Gaussian window of 11 x 11
/// pixels with a standard deviation of 1.5, it is the mean over windows and channels of
///
/// `(2 m_x m_y + C1) (2 c + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))`,
///
/// with `C1 = 0.01^2` and `C2 = 0.03^2` for values from 0 to 1. Windows lie within the image.
///
/// # Shapes
/// - `x`, `y`: `[batch, height * width * channels]`
/// - `shape`: height, width and channels
/// - output: `[batch]`
///
/// # Errors
/// If the rows are not images of that shape or differ in number, or if a side has fewer than 11 pixels.
pub fn ssim(x: Tensor<2>, y: Tensor<2>, shape: [usize; 3]) -> Result<Tensor<1>> {
    let batch = x.dims()[0];
    let [x, y] = planes(x, y, shape, 1)?;
    Ok(over_channels(similarity(x, y).0, batch))
}

/// Structural similarity over several scales (Wang, Simoncelli and Bovik 2003, eq. 7), 1 for equal
/// images.
///
/// Contrast and structure, `(2 c + C2) / (v_x + v_y + C2)`, are compared at each scale, luminance at the
/// last one. Each scale has half the pixels per side, means of 2 x 2 of the one before. The product of
/// the mean over windows, to the power of the scale's weight, is averaged over channels; a negative mean
/// counts as 0.
///
/// The five [`SCALE_WEIGHTS`] need images of at least 176 pixels per side, `n` weights `11 * 2^(n - 1)`.
///
/// # Shapes
/// As [`ssim`].
///
/// # Errors
/// As [`ssim`]; if there are no weights, or one is negative or not finite; if an image is too small.
pub fn ms_ssim(
    x: Tensor<2>,
    y: Tensor<2>,
    shape: [usize; 3],
    weights: &[f64],
) -> Result<Tensor<1>> {
    if weights.is_empty() || weights.iter().any(|weight| !(*weight >= 0.0 && weight.is_finite())) {
        return Err(Error::value(format!(
            "the weights of the scales are {weights:?}, but there must be at least 1, and none below 0"
        )));
    }
    let batch = x.dims()[0];
    let [mut x, mut y] = planes(x, y, shape, weights.len())?;
    let mut product = Tensor::ones([x.dims()[0]], &x.device());
    for (scale, &weight) in weights.iter().enumerate() {
        let is_last = scale + 1 == weights.len();
        let (whole, contrast) = similarity(x.clone(), y.clone());
        let factor = if is_last { whole } else { contrast };
        product = product * factor.clamp_min(0.0).powf_scalar(weight);
        if !is_last {
            (x, y) = (halved(x), halved(y));
        }
    }
    Ok(over_channels(product, batch))
}

/// Reshapes rows to one image per channel, `[batch * channels, height, width]`, that are large enough for
/// the number of scales.
fn planes(x: Tensor<2>, y: Tensor<2>, shape: [usize; 3], scales: usize) -> Result<[Tensor<3>; 2]> {
    let [height, width, channels] = shape;
    let refuse = |message: String| Err(Error::new(ErrorKind::Shape, message));
    let size = height.checked_mul(width).and_then(|size| size.checked_mul(channels));
    let ([rows, columns], others) = (x.dims(), y.dims());
    if size != Some(columns) || [rows, columns] != others {
        return refuse(format!(
            "x is {:?} and y is {others:?}, but both must be rows of images of shape {shape:?}",
            [rows, columns]
        ));
    }
    let least = u32::try_from(scales - 1).ok().and_then(|n| 2_usize.checked_pow(n));
    let least = least.map_or(usize::MAX, |factor| factor.saturating_mul(WINDOW));
    if height < least || width < least {
        return refuse(format!(
            "images of {height} x {width} pixels are too small: {scales} scale{} need at least {least} \
             pixels per side",
            if scales == 1 { "" } else { "s" }
        ));
    }
    Ok([x, y].map(|rows| {
        let images = rows.reshape([-1, height as i32, width as i32, channels as i32]);
        images.permute([0, 3, 1, 2]).reshape([-1, height as i32, width as i32])
    }))
}

/// Returns the means over all windows of the similarity and of its part without luminance, `[images]`.
fn similarity(x: Tensor<3>, y: Tensor<3>) -> (Tensor<1>, Tensor<1>) {
    let [_, height, width] = x.dims();
    let (down, across) = (window(height, &x.device()), window(width, &x.device()));
    let blurred = |images: Tensor<3>| {
        let across = across.clone().unsqueeze_dim::<3>(0);
        let images = images.matmul(across).swap_dims(1, 2);
        images.matmul(down.clone().unsqueeze_dim::<3>(0))
    };
    let (mean_x, mean_y) = (blurred(x.clone()), blurred(y.clone()));
    let variance_x = blurred(x.clone().square()) - mean_x.clone().square();
    let variance_y = blurred(y.clone().square()) - mean_y.clone().square();
    let covariance = blurred(x * y) - mean_x.clone() * mean_y.clone();
    let contrast = (covariance * 2.0 + C2) / (variance_x + variance_y + C2);
    let luminance =
        (mean_x.clone() * mean_y.clone() * 2.0 + C1) / (mean_x.square() + mean_y.square() + C1);
    let mean = |windows: Tensor<3>| windows.flatten::<2>(1, 2).mean_dim(1).squeeze_dim(1);
    (mean(luminance * contrast.clone()), mean(contrast))
}

/// A matrix that takes weighted means of 11 neighbours, `[size, size - 10]`.
fn window(size: usize, device: &Device) -> Tensor<2> {
    let weight = |i: usize| {
        let distance = i as f64 - (WINDOW / 2) as f64;
        (-0.5 * (distance / DEVIATION).powi(2)).exp()
    };
    let total = (0..WINDOW).map(weight).sum::<f64>();
    let columns = size + 1 - WINDOW;
    let mut values = vec![0.0f32; size * columns];
    for column in 0..columns {
        for i in 0..WINDOW {
            values[(column + i) * columns + column] = (weight(i) / total) as f32;
        }
    }
    Tensor::from_data(TensorData::new::<f32, _>(values, [size, columns]), device)
}

/// Means of 2 x 2 pixels. An odd side gets a border of zeros on both sides that count as pixels, as in
/// the reference implementations.
fn halved(images: Tensor<3>) -> Tensor<3> {
    let [count, height, width] = images.dims();
    let halves = |size: usize, device: &Device| {
        let (before, half) = (size % 2, size.div_ceil(2));
        let mut values = vec![0.0f32; size * half];
        for pixel in 0..size {
            values[pixel * half + (pixel + before) / 2] = 0.5;
        }
        Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [size, half]), device)
    };
    let device = images.device();
    let across = images.matmul(halves(width, &device).unsqueeze_dim::<3>(0)).swap_dims(1, 2);
    let down = across.matmul(halves(height, &device).unsqueeze_dim::<3>(0)).swap_dims(1, 2);
    down.reshape([count, height.div_ceil(2), width.div_ceil(2)])
}

fn over_channels(values: Tensor<1>, batch: usize) -> Tensor<1> {
    values.reshape([batch as i32, -1]).mean_dim(1).squeeze_dim(1)
}
