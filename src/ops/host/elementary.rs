//! Elementary functions that the compiler can apply to eight or sixteen values at once.
//!
//! Burn's `flex` calls the C library for each value. The functions here have no branches, so a loop
//! over them inside [`vectorized`] compiles to vector instructions of the machine's width.

/// Runs a loop with the widest vector instructions of the machine.
#[inline(always)]
pub(super) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Values of a smaller magnitude are negligible in gradients and in their averages.
const LEAST: f32 = 1e-30;

/// Replaces a negligible value with zero. Otherwise the average for a pixel that is no longer lit would
/// become subnormal, and so would the gradients of samples with next to no importance weight. Some
/// processors take a hundred times as long for subnormal numbers.
#[inline(always)]
pub(super) fn flushed(x: f32) -> f32 {
    if x.abs() < LEAST { 0.0 } else { x }
}

/// `exp(x)` within two units in the last place, clamped between the smallest and the largest normal
/// number.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this leaves no bits for a fraction, so the sum is rounded to an integer, which is in
    // its last bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    // ln 2 in two parts. The first has few bits, so its products with integers are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let r = x - power * LN_2_HIGH - power * LN_2_LOW;
    // The series of exp(r); |r| <= ln(2)/2, so the next term is below 6e-9.
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = (series * r * r + r) + 1.0;
    let exponent = (shifted.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    series * f32::from_bits(exponent)
}

/// `log(x)` of a normal number above 0 within two units in the last place, or within 1e-7 for `x`
/// near 1. Zero is treated as the smallest normal number.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // The bits of the square root of one half; from there to its double a mantissa begins.
    const ROOT: u32 = 0x3f35_04f3;
    let x = if x < f32::MIN_POSITIVE { f32::MIN_POSITIVE } else { x };
    let power = (x.to_bits().wrapping_sub(ROOT) as i32) >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((power as u32) << 23));
    // log(m) = 2 atanh((m - 1)/(m + 1)) by its series; |s| < 0.172, so the next term is below 1e-9.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = 2.0 / 9.0;
    let series = series * square + 2.0 / 7.0;
    let series = series * square + 2.0 / 5.0;
    let series = series * square + 2.0 / 3.0;
    let series = series * square + 2.0;
    let value = power as f32 * std::f32::consts::LN_2 + series * s;
    // The bits of infinities and NaN have no mantissa.
    if x < f32::INFINITY { value } else { x }
}

/// `tanh(x)` within a few units in the last place.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    let large = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0);
    // Where that loses digits: sinh(x) / cosh(x) by their series, for |x| < 0.5.
    let square = x * x;
    let sinh = 1.0 / 362_880.0;
    let sinh = sinh * square + 1.0 / 5040.0;
    let sinh = sinh * square + 1.0 / 120.0;
    let sinh = sinh * square + 1.0 / 6.0;
    let sinh = sinh * square + 1.0;
    let cosh = 1.0 / 40_320.0;
    let cosh = cosh * square + 1.0 / 720.0;
    let cosh = cosh * square + 1.0 / 24.0;
    let cosh = cosh * square + 0.5;
    let cosh = cosh * square + 1.0;
    let small = magnitude * sinh / cosh;
    let value = if magnitude < 0.5 { small } else { large };
    // NaN is preserved: the comparison above is false for it, and `exp` returns NaN.
    value.copysign(x)
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    sigmoid_by(x, exp(-x.abs()))
}

/// `1 / (1 + exp(-x))`, given `e = exp(-|x|)`.
#[inline(always)]
pub(super) fn sigmoid_by(x: f32, e: f32) -> f32 {
    let small = e / (1.0 + e);
    if x < 0.0 { small } else { 1.0 - small }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 1,009th float, of both signs.
    fn floats() -> impl Iterator<Item = f32> {
        (0..=u32::MAX / 1009).map(|i| f32::from_bits(i * 1009)).filter(|x| x.is_finite())
    }

    #[test]
    fn functions_are_those_of_twice_the_precision() {
        let mut worst = [0.0f64; 3];
        for x in floats() {
            let exact = f64::from(x);
            let exp_at = exact.clamp(-87.0, 88.0);
            let pairs = [
                (exp(x), exp_at.exp()),
                (tanh(x), exact.tanh()),
                (sigmoid(x), 1.0 / (1.0 + (-exact.max(-87.0)).exp())),
            ];
            for (worst, (found, expected)) in worst.iter_mut().zip(pairs) {
                let error = (f64::from(found) - expected).abs() / expected.abs().max(1e-37);
                *worst = worst.max(error / f64::from(f32::EPSILON));
            }
        }
        let [exp, tanh, sigmoid] = worst;
        assert!(exp < 1.5 && tanh < 3.0 && sigmoid < 3.0, "{exp} {tanh} {sigmoid}");
    }

    #[test]
    fn the_logarithm_is_that_of_twice_the_precision() {
        let mut worst = 0.0f64;
        for x in floats().filter(|x| *x >= f32::MIN_POSITIVE) {
            let expected = f64::from(x).ln();
            let error = (f64::from(ln(x)) - expected).abs();
            worst = worst.max(error / expected.abs().max(0.5) / f64::from(f32::EPSILON));
        }
        assert!(worst < 2.0, "{worst}");
        assert_eq!([ln(1.0), ln(f32::INFINITY)], [0.0, f32::INFINITY]);
        assert!(ln(f32::NAN).is_nan());
    }

    #[test]
    fn negligible_values_become_zero() {
        assert_eq!([flushed(1e-31), flushed(-1e-31), flushed(1e-29)], [0.0, 0.0, 1e-29]);
        assert!(flushed(f32::NAN).is_nan());
    }

    #[test]
    fn nan_stays_nan() {
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)], [1.0, -1.0]);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0f32).to_bits());
    }
}
