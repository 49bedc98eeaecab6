//! Time and memory of a step against the batch size, the number of samples, the latent dimension
//! and the image size, and of the estimation of a likelihood against its number of samples.
//!
//! ```sh
//! cargo bench --bench scale            # two minutes; draws docs/img/scale_*.png
//! cargo bench --bench scale -- batch   # one of: batch, samples, latent, image
//! ```
//!
//! Every point is measured in its own process, and the memory reported is the peak resident memory
//! of that process.

mod chart;
mod workload;

use std::process::Command;

use clap::Parser;
use workload::{Measured, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    /// The axes to measure; all if none is named
    axes: Vec<String>,
    /// Measure one point and print it
    #[arg(long, hide = true, num_args = 2, value_names = ["LINE", "SIZE"])]
    point: Option<Vec<String>>,
    /// Given by Cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A chart: the quantity that grows along it, and its lines.
pub struct Axis {
    pub name: &'static str,
    pub title: &'static str,
    pub lines: &'static [Line],
}

pub struct Line {
    pub name: &'static str,
    pub workload: Workload,
    sizes: &'static [usize],
}

const AXES: &[Axis] = &[
    Axis {
        name: "batch",
        title: "examples of a batch",
        lines: &[
            Line {
                name: "784-256-2",
                workload: |size| workload::perceptron(28, size, 2),
                sizes: &[1, 4, 16, 64, 256, 1024, 4096],
            },
            Line {
                name: "convolutions",
                workload: |size| workload::convolutions(28, size),
                sizes: &[1, 4, 16, 64, 256, 1024],
            },
        ],
    },
    Axis {
        name: "samples",
        title: "samples K",
        lines: &[
            Line {
                name: "step of the IWAE, batch 20",
                workload: workload::importance_weighted,
                sizes: &[1, 2, 5, 10, 20, 50, 100, 200, 500],
            },
            Line {
                name: "likelihood of 20 digits",
                workload: workload::likelihood,
                sizes: &[1, 10, 100, 1000, 10_000],
            },
        ],
    },
    Axis {
        name: "latent",
        title: "latent dimensions",
        lines: &[
            Line {
                name: "diagonal Gaussian",
                workload: |size| workload::perceptron(28, 100, size),
                sizes: &[2, 8, 32, 128, 512, 2048],
            },
            Line {
                name: "full covariance",
                workload: workload::full_covariance,
                sizes: &[2, 8, 32, 128],
            },
        ],
    },
    Axis {
        name: "image",
        title: "height and width of an image",
        lines: &[
            Line {
                name: "N-256-2, batch 32",
                workload: |size| workload::perceptron(size, 32, 2),
                sizes: &[7, 14, 28, 56, 112, 224],
            },
            Line {
                name: "convolutions, batch 32",
                workload: |size| workload::convolutions(size, 32),
                sizes: &[7, 14, 28, 56, 112, 224],
            },
        ],
    },
];

fn main() {
    let options = Options::parse();
    if let Some(point) = options.point {
        let [line, size] = &point[..] else { unreachable!("clap takes two values") };
        let line = lines().nth(line.parse().expect("a number")).expect("a line");
        println!("{}", (line.workload)(size.parse().expect("a number")));
        return;
    }
    for name in &options.axes {
        let names = AXES.iter().map(|axis| axis.name).collect::<Vec<_>>();
        assert!(names.contains(&name.as_str()), "there is no axis {name}, only {names:?}");
    }
    let mut number = 0;
    for axis in AXES {
        let wanted = options.axes.is_empty() || options.axes.iter().any(|name| name == axis.name);
        let mut series = Vec::new();
        for line in axis.lines {
            if wanted {
                series.push(measure(axis, line, number));
            }
            number += 1;
        }
        if wanted {
            chart::draw(axis, &series);
        }
    }
}

fn lines() -> impl Iterator<Item = &'static Line> {
    AXES.iter().flat_map(|axis| axis.lines)
}

/// Measures each point of a line and returns it with its size.
fn measure(axis: &Axis, line: &Line, number: usize) -> Vec<(usize, Measured)> {
    println!("\n{} against {}", line.name, axis.title);
    let point = |&size: &usize| {
        let this = std::env::current_exe().expect("a program has a path");
        let arguments = ["--point", &number.to_string(), &size.to_string()];
        let output = Command::new(this).args(arguments).output().expect("a process");
        let text = String::from_utf8_lossy(&output.stdout);
        let measured: Measured = text.trim().parse().unwrap_or_else(|()| {
            panic!("{} of {size}: {}", line.name, String::from_utf8_lossy(&output.stderr))
        });
        println!("{size:>7}  {:>10.3} ms  {:>7.1} MB", measured.milliseconds, measured.megabytes);
        (size, measured)
    };
    line.sizes.iter().map(point).collect()
}
