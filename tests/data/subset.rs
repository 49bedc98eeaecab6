//! Subsets of data sets, and splits.

use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::tensor::Device;
use burn_vae::data::{
    BatchLoader, ByteImages, Examples, HeldOut, Subset, Table, split_last, split_random,
};
use burn_vae::{ErrorKind, Seed};
use proptest::prelude::*;

/// Image `i` has the single value `i / 255` and the label `i`.
fn images(n: u8) -> Arc<ByteImages> {
    let values = (0..n).collect::<Vec<_>>();
    Arc::new(ByteImages::new(values.clone(), [1, 1, 1]).unwrap().with_labels(values).unwrap())
}

/// The indices of the images that are read, recovered from their values.
fn values(examples: &dyn Examples) -> Vec<usize> {
    let mut out = vec![0.0; examples.len() * examples.dim()];
    examples.read(&(0..examples.len()).collect::<Vec<_>>(), &mut out).unwrap();
    out.iter().map(|x| (x * 255.0).round() as usize).collect()
}

#[test]
fn parts_read_what_they_say() {
    let range = Subset::range(images(10), 2..5).unwrap();
    assert_eq!(values(&range), [2, 3, 4]);
    let list = Subset::select(images(10), [7, 0, 7]).unwrap();
    assert_eq!(values(&list), [7, 0, 7]);
    // A subset of a subset.
    assert_eq!(values(&Subset::select(Arc::new(range), [2, 0]).unwrap()), [4, 2]);
    assert_eq!(values(&images(10).select(&[7, 0, 7]).unwrap()), [7, 0, 7]);
    assert_eq!(images(10).select(&[7, 0]).unwrap().labels(), Some([7, 0].as_slice()));
}

#[test]
fn parts_that_are_empty_or_beyond_the_end_are_refused() {
    let errors = [
        (Subset::range(images(5), 2..2).unwrap_err(), "the range 2..2 holds no example"),
        (Subset::range(images(5), 3..6).unwrap_err(), "3..6 were requested, but there are only 5"),
        (Subset::select(images(5), []).unwrap_err(), "no examples were selected"),
        (
            Subset::select(images(5), [0, 5]).unwrap_err(),
            "example 5, counted from 0, was requested",
        ),
        (
            images(5).select(&[5]).unwrap_err(),
            "example 5, counted from 0, was requested, but there are only 5",
        ),
        (images(5).split_at(0).unwrap_err(), "the range 0..0 holds no example"),
        (images(5).split_at(5).unwrap_err(), "the range 5..5 holds no example"),
        (images(5).split_at(6).unwrap_err(), "0..6 were requested, but there are only 5"),
        (split_last(images(5), 0).unwrap_err(), "0 of 5 examples cannot be held out: at least"),
        (split_last(images(5), 5).unwrap_err(), "5 of 5 examples cannot be held out: none would"),
        (split_last(images(5), 9).unwrap_err(), "9 of 5 examples cannot be held out: none would"),
        (split_last(images(5), 1.0).unwrap_err(), "the fraction to hold out is 1, but it must be"),
        (split_random(images(5), 0.0, 1).unwrap_err(), "the fraction to hold out is 0, but"),
        (split_random(images(5), f64::NAN, 1).unwrap_err(), "the fraction to hold out is NaN, but"),
        (split_last(images(1), 0.5).unwrap_err(), "the fraction 0.5 of 1 examples cannot be held"),
        (images(1).split_last(0.5).unwrap_err(), "none would be left to train on"),
        (images(2).split_random(2, 0).unwrap_err(), "none would be left to train on"),
    ];
    for (error, reason) in errors {
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}

/// `int(math.floor(n * (1.0 - split)))` of Keras 3, evaluated in Python.
#[test]
fn fractions_are_rounded_as_keras_rounds_them() {
    for (n, fraction, left) in
        [(10, 0.2, 8), (10, 0.25, 7), (11, 0.1, 9), (3, 0.33, 2), (100, 0.29, 71), (7, 0.5, 3)]
    {
        let (train, valid) = split_last(images(n), fraction).unwrap();
        assert_eq!((train.len(), valid.len()), (left, usize::from(n) - left), "{n} {fraction}");
        assert_eq!(valid.indices().next(), Some(left));
    }
}

#[test]
fn labels_follow_their_images() {
    let (train, test) = images(10).split_last(3).unwrap();
    assert_eq!(train.labels(), Some([0, 1, 2, 3, 4, 5, 6].as_slice()));
    assert_eq!(test.labels(), Some([7, 8, 9].as_slice()));
    for part in <[ByteImages; 2]>::from(images(100).split_random(0.3, 5).unwrap()) {
        let labels = part.labels().unwrap().iter().map(|&label| usize::from(label));
        assert_eq!(values(&part), labels.collect::<Vec<_>>());
        assert_eq!(part.shape(), [1, 1, 1]);
    }
    let table = Table::new(vec![0.0, 1.0, 2.0, 3.0], ["x"]).unwrap();
    let table = table.with_labels(vec![0, 1, 2, 3]).unwrap();
    for part in <[Table; 2]>::from(table.split_random(1, 0).unwrap()) {
        let labels = part.labels().unwrap().iter().map(|&label| f32::from(label));
        assert_eq!(part.values(), labels.collect::<Vec<_>>());
    }
}

#[test]
fn a_loader_goes_through_a_part_and_slices_it() {
    let part = Arc::new(Subset::select(images(10), [9, 1, 8, 2, 7]).unwrap());
    let loader = BatchLoader::ordered(part, 2, &Device::flex()).unwrap();
    let batches = |loader: &dyn DataLoader<_>| {
        let numbers = |batch: burn_vae::data::Batch| {
            let x = batch.x.into_data();
            x.iter::<f32>().map(|x| (x * 255.0).round() as u8).collect::<Vec<_>>()
        };
        loader.iter().map(|batch| numbers(batch.unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(batches(&loader), [vec![9, 1], vec![8, 2], vec![7]]);
    assert_eq!(batches(&*loader.slice(1, 4)), [vec![1, 8], vec![2]]);
    assert!(batches(&*loader.slice(2, 2)).is_empty());
}

#[test]
fn another_seed_gives_another_split() {
    let held_out = |seed| values(&split_random(images(200), 0.1, Seed::new(seed)).unwrap().1);
    assert_eq!(held_out(3), held_out(3));
    assert_ne!(held_out(3), held_out(4));
}

proptest! {
    #[test]
    fn random_parts_are_all_of_the_examples_in_order(
        n in 2u8..=255, share in 0.0f64..1.0, seed: u64,
    ) {
        let count = ((f64::from(n) * share) as usize).clamp(1, usize::from(n) - 1);
        let (train, out) = split_random(images(n), HeldOut::Count(count), seed).unwrap();
        prop_assert_eq!(out.len(), count);
        let (train, out) = (values(&train), values(&out));
        prop_assert!(train.is_sorted() && out.is_sorted());
        let mut all = [train.clone(), out.clone()].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..usize::from(n)).collect::<Vec<_>>());
        // In memory, the same images are drawn.
        let (left, right) = images(n).split_random(count, seed).unwrap();
        prop_assert_eq!((values(&left), values(&right)), (train, out));
    }

    #[test]
    fn turning_images_twice_changes_nothing(h in 1usize..5, w in 1usize..5, c in 1usize..4) {
        let pixels = (0..3 * h * w * c).map(|i| i as u8).collect::<Vec<_>>();
        let images = ByteImages::new(pixels, [h, w, c]).unwrap();
        let turned = images.transposed();
        prop_assert_eq!(turned.shape(), [w, h, c]);
        prop_assert_eq!(values(&turned.transposed()), values(&images));
        let (images, turned) = (values(&images), values(&turned));
        for (i, value) in images.into_iter().enumerate() {
            let (n, y, x, k) = (i / (h * w * c), i / (w * c) % h, i / c % w, i % c);
            prop_assert_eq!(turned[((n * w + x) * h + y) * c + k], value);
        }
    }
}
