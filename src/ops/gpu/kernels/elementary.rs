//! Elementary functions of kernels. The logarithm and the exponential of a GPU may lose digits near
//! 1 and 0, where these keep them.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::product::Four;
use crate::ops::Finish;

/// Applies the activation of a layer.
#[cube]
pub(super) fn finished(y: Four, #[comptime] finish: Finish) -> Four {
    if comptime!(finish == Finish::Relu) {
        // NaN stays NaN, as the comparison is false.
        select_many(y.less_equal(&Four::new(0.0)), Four::new(0.0), y)
    } else if comptime!(finish == Finish::Tanh) {
        y.tanh()
    } else if comptime!(finish == Finish::Sigmoid) {
        Four::new(1.0) / (Four::new(1.0) + (-y).exp())
    } else {
        y
    }
}

/// The derivative of an activation, given its value.
#[cube]
pub(super) fn slope(y: f32, #[comptime] finish: Finish) -> f32 {
    if comptime!(finish == Finish::Relu) {
        select(y <= 0.0, 0.0, 1.0)
    } else if comptime!(finish == Finish::Tanh) {
        1.0 - y * y
    } else if comptime!(finish == Finish::Sigmoid) {
        y * (1.0 - y)
    } else {
        f32::new(1.0)
    }
}

/// `log(1 + e)` for `0 <= e <= 1`, with a relative error of some 1e-7: `2 atanh(e / (2 + e))` by its
/// series.
#[cube]
pub(super) fn log_1p(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let square = s * s;
    let series = square * comptime!(2.0f32 / 15.0) + comptime!(2.0f32 / 13.0);
    let series = series * square + comptime!(2.0f32 / 11.0);
    let series = series * square + comptime!(2.0f32 / 9.0);
    let series = series * square + comptime!(2.0f32 / 7.0);
    let series = series * square + comptime!(2.0f32 / 5.0);
    let series = series * square + comptime!(2.0f32 / 3.0);
    (series * square + 2.0) * s
}

/// `exp(x) - 1`, by its series near zero.
#[cube]
pub(super) fn exp_m1(x: f32) -> f32 {
    let series = x * comptime!(1.0f32 / 40_320.0) + comptime!(1.0f32 / 5_040.0);
    let series = series * x + comptime!(1.0f32 / 720.0);
    let series = series * x + comptime!(1.0f32 / 120.0);
    let series = series * x + comptime!(1.0f32 / 24.0);
    let series = series * x + comptime!(1.0f32 / 6.0);
    let series = series * x + 0.5;
    let series = series * x + 1.0;
    select(x.abs() < 0.5, series * x, x.exp() - 1.0)
}
