//! Briefly reads randomly changed files. cargo-fuzz does the same for hours and more cleverly.

#[path = "../../fuzz/inputs.rs"]
mod inputs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `BURN_VAE_FUZZ=100000` tries that many files of each kind.
#[test]
fn files_that_were_changed_at_random_get_an_answer() {
    let count = std::env::var("BURN_VAE_FUZZ").map_or(500, |count| count.parse().unwrap());
    for (name, target) in inputs::TARGETS {
        let seeds = inputs::seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        seeds.iter().for_each(|seed| target(seed));
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..count {
            let mut data = seeds[rng.random_range(0..seeds.len())].clone();
            for _ in 0..rng.random_range(1..6) {
                change(&mut data, &mut rng);
            }
            if catch_unwind(AssertUnwindSafe(|| target(&data))).is_err() {
                panic!("{name}: a panic at {:?}\n{data:?}", String::from_utf8_lossy(&data));
            }
        }
    }
    std::fs::remove_dir_all(inputs::folder()).unwrap();
}

fn change(data: &mut Vec<u8>, rng: &mut impl Rng) {
    const TELLING: [u8; 12] = [0, 1, 8, 127, 128, 255, b'0', b'9', b'-', b'e', b',', b'\n'];
    if data.is_empty() {
        return data.push(rng.random());
    }
    let at = rng.random_range(0..data.len());
    let end = (at + rng.random_range(1..9)).min(data.len());
    match rng.random_range(0..6) {
        0 => data[at] ^= 1 << rng.random_range(0..8),
        1 => data[at..end].fill(TELLING[rng.random_range(0..TELLING.len())]),
        2 => data.insert(at, TELLING[rng.random_range(0..TELLING.len())]),
        3 => _ = data.drain(at..end),
        4 => data.truncate(at),
        _ => {
            let part = data[at..end].to_vec();
            let to = rng.random_range(0..=data.len());
            data.splice(to..to, part);
        }
    }
}

/// Writes the seeds of cargo-fuzz.
#[test]
#[ignore = "writes to fuzz/corpus"]
fn write_seeds() {
    for (name, _) in inputs::TARGETS {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        for (i, seed) in inputs::seeds(name).iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{i}")), seed).unwrap();
        }
    }
}
