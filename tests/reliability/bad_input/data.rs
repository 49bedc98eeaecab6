//! Invalid data in memory, and plots of it.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use burn_vae::ErrorKind::{Config, Data, Picture, Shape, Value};
use burn_vae::data::{
    Binarized, ByteImages, Examples, Scaling, Subset, Table, WithLabels, split_last,
};
use burn_vae::latent::{Pca, Tsne, linear_axis, plane, quantile_axis, tsne};
use burn_vae::viz::{ImageGrid, scatter};

use super::{Row, row};

fn images(n: usize) -> ByteImages {
    ByteImages::new(vec![0; 6 * n], [2, 3, 1]).unwrap()
}

fn table(values: Vec<f32>) -> Table {
    Table::new(values, ["a".to_string(), "b".to_string()]).unwrap()
}

pub(super) fn rows() -> Vec<Row> {
    let zeros = |shape: [usize; 2]| Tensor::<2>::zeros(shape, &Device::flex());
    vec![
        row("half an image", Data, "not a whole number of images", || {
            ByteImages::new(vec![0; 9], [2, 3, 1])
        }),
        row("images without pixels", Data, "not a whole number of images", || {
            ByteImages::new(vec![0; 9], [2, 0, 1])
        }),
        row("2 labels for 3 images", Data, "2 labels for 3 images", || {
            images(3).with_labels(vec![0, 1])
        }),
        row("images beyond the last", Config, "there are only 3", || {
            images(3).tensor(1..5, &Device::flex())
        }),
        row("images backwards", Config, "the range 3..1 holds no example", || {
            images(3).tensor(Range { start: 3, end: 1 }, &Device::flex())
        }),
        row("no image at all", Config, "the range 2..2 holds no example", || {
            images(3).tensor(2..2, &Device::flex())
        }),
        row("rows backwards", Config, "the range 1..0 holds no example", || {
            table(vec![0.0; 4]).tensor(Range { start: 1, end: 0 }, &Device::flex())
        }),
        row("examples backwards", Config, "the range 2..1 holds no example", || {
            Subset::range(Arc::new(images(3)), Range { start: 2, end: 1 })
        }),
        row("a table with a name twice", Data, "columns 1 and 2 are both called `a`", || {
            Table::new(vec![0.0; 4], ["a", "a"])
        }),
        row(
            "an image beyond the last",
            Config,
            "example 3, counted from 0, was requested, but there are only 3",
            || images(3).select(&[0, 3]),
        ),
        row("no images of them all", Config, "no examples were selected", || images(3).select(&[])),
        row("a split that leaves nothing", Config, "it must be above 0 and below 1", || {
            images(3).split_last(1.0)
        }),
        row("a split by NaN", Config, "the fraction to hold out is NaN", || {
            images(3).split_last(f64::NAN)
        }),
        row("a split beyond the end", Config, "none would be left", || {
            split_last(Arc::new(images(3)), 4)
        }),
        row(
            "a label beyond the classes",
            Data,
            "example 1 has the label 5, but there are only 3",
            || WithLabels::new(images(2), vec![0, 5], 3),
        ),
        row("labels missing", Data, "1 labels for 2 examples", || {
            WithLabels::new(images(2), vec![0], 3)
        }),
        row("bits of a number above 1", Data, "example 0 holds 1.5", || {
            Binarized::once(table(vec![1.5, 0.0]), 0).read(&[0], &mut [0.0; 2])
        }),
        row("half a row", Data, "3 values are not a whole number of rows of 2 columns", || {
            Table::new(vec![0.0; 3], ["a".to_string(), "b".to_string()])
        }),
        row("a table with NaN", Data, "NaN", || {
            Table::new(vec![0.0, f32::NAN], ["a".to_string(), "b".to_string()])
        }),
        row(
            "a table without columns",
            Data,
            "0 values are not a whole number of rows of 0 columns",
            || Table::new(vec![], Vec::<String>::new()),
        ),
        row("a scaling fitted to no values", Data, "no values", || Scaling::standard(&images(0))),
        row("a scaling of other columns", Shape, "have 6 columns, but the scaling has 2", || {
            Scaling::standard(&table(vec![0.0, 1.0, 2.0, 3.0]))?.scaled(Arc::new(images(2)))
        }),
        row(
            "a scaling of half a row",
            Shape,
            "3 values are not a whole number of rows of 2",
            || Scaling::standard(&table(vec![0.0, 1.0, 2.0, 3.0]))?.apply(&mut [0.0; 3]),
        ),
        row("logits of a mean of 7", Value, "the shift of column 0 is 7", || {
            Scaling::standard(&table(vec![7.0, 0.0]))?.shift_logits()
        }),
        row(
            "a grid of images of another size",
            Picture,
            "rows of 6 values are not images of shape [2, 2, 1]",
            move || ImageGrid::new(zeros([4, 6]), [2, 2, 1], 2),
        ),
        row("a grid of no columns", Picture, "4 images do not fill rows of 0", move || {
            ImageGrid::new(zeros([4, 6]), [2, 3, 1], 0)
        }),
        row("a grid of NaN", Picture, "image 0, counted from 0, holds NaN", move || {
            ImageGrid::new(zeros([4, 6]).add_scalar(f32::NAN), [2, 3, 1], 2)?.save("/dev/null")
        }),
        row("points without a label", Picture, "3 points with 1 labels", || {
            scatter(&[[0.0; 2]; 3], &[1], "/dev/null")
        }),
        row("a point at infinity", Picture, "inf", || {
            scatter(&[[f32::INFINITY, 0.0]], &[0], "/dev/null")
        }),
        row("an axis of 0 points", Value, "at least 2 values between finite bounds, not 0", || {
            linear_axis(0, 0.0, 1.0)
        }),
        row("an axis to NaN", Value, "NaN", || linear_axis(3, 0.0, f64::NAN)),
        row("an axis of 2^63 points", Value, "at most 1073741824 values", || {
            linear_axis(usize::MAX / 2, 0.0, 1.0)
        }),
        row("quantiles without an end", Value, "at most 1073741824 values", || {
            quantile_axis(usize::MAX, 0.1, 0.9)
        }),
        row("an axis without a length", Value, "between finite bounds, not 3 from", || {
            linear_axis(3, f64::MIN, f64::MAX)
        }),
        row("a plane of 2^64 dimensions", Value, "at most 1073741824 values", || {
            plane(&[0.0; 2], &[0.0; 2], usize::MAX, &Device::flex())
        }),
        row("a grid of 2^64 columns", Picture, "4 images do not fill rows of", move || {
            ImageGrid::new(zeros([4, 6]), [2, 3, 1], usize::MAX)
        }),
        row("a grid of a billion pixels", Picture, "too many for one picture", move || {
            ImageGrid::new(zeros([1 << 22, 1]), [1, 1, 1], 1 << 22)
        }),
        row("2^64 components", Shape, "components were requested", move || {
            let codes = Tensor::from_data([[0.0, 1.0], [2.0, 1.0]], &Device::flex());
            Pca::fit(codes.clone())?.project(codes, usize::MAX)
        }),
        row("a plane of one dimension", Value, "in a latent space of dimension 1", || {
            plane(&[0.0], &[0.0], 1, &Device::flex())
        }),
        row("the axes of one code", Shape, "needs at least 2 rows", move || {
            Pca::fit(zeros([1, 3]))
        }),
        row(
            "the axes of codes with NaN",
            Value,
            "row 0 of the codes has NaN in column 0",
            move || Pca::fit(zeros([4, 3]).add_scalar(f32::NAN)),
        ),
        row("a t-SNE of few codes", Value, "perplexity", move || {
            tsne(zeros([4, 3]), &Tsne::default())
        }),
    ]
}
