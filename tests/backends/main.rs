//! One suite for every backend: compares values and gradients of all components, optimisers and
//! trainings on each compiled backend with those on the first, flex.
//!
//! ```sh
//! cargo test --features ndarray --test backends
//! cargo test --features wgpu --test backends
//! BURN_VAE_CASE=chi cargo test --features wgpu --test backends    # the cases with this in their names
//! BURN_VAE_BACKEND=cuda cargo test --features cuda,wgpu --test backends    # one backend alone
//! ```

mod activations;
mod components;
mod found;
mod trainings;

use burn::tensor::Device;
use burn_vae::backend;
use found::Found;

/// A computation to run on a device.
pub struct Case {
    name: &'static str,
    compute: Box<Compute>,
}

type Compute = dyn Fn(&Device) -> Vec<Found>;

impl Case {
    fn new(name: &'static str, compute: impl Fn(&Device) -> Vec<Found> + 'static) -> Self {
        Self { name, compute: Box::new(compute) }
    }
}

#[test]
fn every_backend_computes_the_same() {
    let wanted = std::env::var("BURN_VAE_CASE").unwrap_or_default();
    let cases = components::cases().into_iter().chain(trainings::cases());
    let cases = cases.filter(|case| case.name.contains(&wanted)).collect::<Vec<_>>();
    assert!(!cases.is_empty(), "no case has {wanted} in its name");
    let [first, others @ ..] = backend::names() else { panic!("there is no backend") };
    let chosen = std::env::var("BURN_VAE_BACKEND").ok();
    let others = others.iter().filter(|name| chosen.as_deref().is_none_or(|it| it == **name));
    let others = others.collect::<Vec<_>>();
    if let Some(chosen) = &chosen {
        let names = backend::names();
        assert!(
            !others.is_empty(),
            "{chosen} is not among the backends after the first: {names:?}"
        );
    }
    let reference = backend::device(first).unwrap();
    let expected = cases.iter().map(|case| (case.compute)(&reference)).collect::<Vec<_>>();
    for (case, expected) in cases.iter().zip(&expected) {
        let gradients = expected.iter().filter(|found| found.is_gradient());
        assert!(gradients.clone().count() > 0, "{} has no gradient", case.name);
        for found in expected {
            assert!(found.is_finite(), "{} on {first}: {found:?}", case.name);
        }
        let moves = |found: &Found| found.largest() > 0.0;
        assert!(gradients.into_iter().any(moves), "{}: all gradients are 0", case.name);
    }
    for name in others {
        let device = backend::device(name).unwrap();
        let mut worst = Vec::new();
        let mut wrong = Vec::new();
        for (case, expected) in cases.iter().zip(&expected) {
            let found = (case.compute)(&device);
            assert_eq!(found.len(), expected.len(), "{} on {name}", case.name);
            for (found, expected) in found.iter().zip(expected) {
                let difference = found.difference(expected);
                if difference > found.tolerance() {
                    wrong.push(format!("{}: {} off by {difference:.1e}", case.name, found.name()));
                }
                worst.push((difference / found.tolerance(), case.name, found.name().to_string()));
            }
        }
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("{name}: {} tensors of {} cases", worst.len(), cases.len());
        for (share, case, tensor) in worst.iter().take(5) {
            println!("  {case}, {tensor}: {:.1} % of its tolerance", 100.0 * share);
        }
        assert!(wrong.is_empty(), "{name} and {first} differ:\n{}", wrong.join("\n"));
    }
}
