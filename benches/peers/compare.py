#!/usr/bin/env python3
"""Trains the same models with this crate, PyTorch and Keras, in turn, and prints what each takes.

    python3 benches/peers/compare.py                       # on the CPU
    python3 benches/peers/compare.py --threads 1 2 4 8     # against PyTorch, on so many threads
    python3 benches/peers/compare.py --gpu                 # on an NVIDIA GPU
    python3 benches/peers/compare.py --gpu --without cuda  # leaves out a tool

On the first run it makes a Python environment (--venv) with the packages of requirements.txt, some 7 GB
with the CUDA libraries that PyTorch brings, and builds this crate's side (cargo bench --bench peer). Where
nothing can be fetched, --python and --ours name what is there. Each round trains each model once with each
tool, in a process of its own; the first epoch, in which things are compiled, does not count. The numbers of
parameters and the losses of the last epoch must agree, so that the work is known to be the same.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Training examples; what a round takes is about the same for each.
CPU_MODELS = {
    "mlp": 60000,
    "conv": 3200,
    "batchnorm": 12800,
    "dcgan": 640,
    "iwae1": 30000,
    "iwae5": 12000,
    "iwae50": 8000,
}
GPU_MODELS = {"mlp": 60000, "mlp4096": 57344, "conv": 12800, "dcgan": 12800, "iwae50": 10000}
DEFAULT = ["mlp", "mlp4096", "conv", "batchnorm", "dcgan", "iwae50"]
GPU_BACKENDS = ["vulkan", "cuda"]
KERAS_MODELS = ["mlp", "conv"]
OURS = "burn-vae"
OUR_VARIABLES = {"MIMALLOC_PURGE_DELAY": "-1"}
# Losses of different tools start from different weights, which they show for long: five seeds of PyTorch
# take `conv` to 192 to 204 nats.
TOLERANCE = {"conv": 0.06, "dcgan": 0.15}
USUAL_TOLERANCE = 0.03


def environment(folder):
    python, done = folder / "bin" / "python", folder / "requirements.installed"
    wanted = (HERE / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-r", HERE / "requirements.txt"], check=True)
        done.write_text(wanted)
    return python


def our_binary(features):
    command = ["cargo", "bench", "--bench", "peer", "--no-run", "--message-format=json"]
    command += ["--features", ",".join(features)]
    built = subprocess.run(command, cwd=HERE.parents[1], check=True, stdout=subprocess.PIPE)
    lines = map(json.loads, built.stdout.splitlines())
    return next(line["executable"] for line in lines if line.get("executable"))


def gpu_tools(python, ours):
    """The command and the variables of each tool, and the models that it has."""
    torch, models = [python, HERE / "models_torch.py", "--device", "cuda"], list(GPU_MODELS)
    # Trials of all kernels take `cuda` longer than anything else here.
    level = {"vulkan": {}, "cuda": {"CUBECL_AUTOTUNE_LEVEL": "minimal"}}
    backends = {
        f"{OURS}, {name}": ([ours, "--backend", name], level[name], models) for name in GPU_BACKENDS
    }
    return backends | {
        "PyTorch": (torch, {}, models),
        "PyTorch, compiled": ([*torch, "--compile", "default"], {}, models),
        "PyTorch, CUDA graphs": ([*torch, "--compile", "reduce-overhead"], {}, models),
    }


def cpu_tools(python, ours):
    """The command and the variables of each tool, and the models that it has."""
    keras = [python, HERE / "models_keras.py"]
    all_models = list(CPU_MODELS)
    return on_threads(python, ours, None) | {
        f"{OURS}, 1 thread": ([ours], OUR_VARIABLES | {"RAYON_NUM_THREADS": "1"}, all_models),
        "Keras, TensorFlow": (keras, {"KERAS_BACKEND": "tensorflow"}, KERAS_MODELS),
        "Keras, JAX": (keras, {"KERAS_BACKEND": "jax"}, KERAS_MODELS),
    }


def on_threads(python, ours, threads):
    """The tools whose number of threads can be set; without one they take all cores."""
    torch, all_models = [python, HERE / "models_torch.py"], list(CPU_MODELS)
    suffix, rayon, omp = "", {}, {}
    if threads:
        suffix = f", {threads} thread" + "s" * (threads > 1)
        rayon, omp = {"RAYON_NUM_THREADS": str(threads)}, {"OMP_NUM_THREADS": str(threads)}
    return {
        OURS + suffix: ([ours], OUR_VARIABLES | rayon, all_models),
        "PyTorch" + suffix: (torch, omp, all_models),
        "PyTorch, compiled" + suffix: ([*torch, "--compile", "default"], omp, all_models),
    }


def measure(command, variables, model, examples, epochs):
    """Microseconds for an example, the loss of the last epoch, the peak of memory in MB and the number
    of trainable parameters."""
    options = ["--model", model, "--examples", str(examples), "--epochs", str(epochs)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*map(str, command), *options],
            env={**os.environ, **variables, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=HERE.parents[1],
        )
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            command = " ".join(map(str, command))
            sys.exit(f"{command} failed on {model}:\n{errors.read().decode()}")
    result = json.loads(output.splitlines()[-1])
    seconds = statistics.median(result["seconds"][1:])
    loss, parameters = result["losses"][-1], result["parameters"]
    return seconds / examples * 1e6, loss, usage.ru_maxrss / 1024, parameters


def table(model, rounds):
    """The rows of a model, of the measurements of each tool."""
    medians = {tool: statistics.median(run[0] for run in runs) for tool, runs in rounds.items()}
    peers = {tool: median for tool, median in medians.items() if not tool.startswith(OURS)}
    losses = {tool: statistics.median(run[1] for run in runs) for tool, runs in rounds.items()}
    parameters = {tool: runs[0][3] for tool, runs in rounds.items()}
    if len(set(parameters.values())) > 1:
        sys.exit(f"numbers of parameters of {model} differ: {parameters}")
    centre, tolerance = statistics.median(losses.values()), TOLERANCE.get(model, USUAL_TOLERANCE)
    for tool, loss in losses.items():
        if abs(loss - centre) > tolerance * abs(centre):
            sys.exit(f"{tool} trains {model} to a loss of {loss:.2f}, the others to {centre:.2f}")
    print(f"\n{model} | us per example: median (lowest to highest) | loss | peak MB of the host")
    print("---|---|---|---")
    for tool, runs in rounds.items():
        times = [run[0] for run in runs]
        print(
            f"{tool} | {medians[tool]:.3g} ({min(times):.3g} to {max(times):.3g}) | "
            f"{losses[tool]:.2f} | {max(run[2] for run in runs):.0f}"
        )
    for tool in filter(lambda tool: tool.startswith(OURS), rounds):
        # With --threads, those on as many threads.
        alike = [peer for peer in peers if peer.endswith(tool.removeprefix(OURS))]
        fastest = min(alike or peers, key=peers.get)
        ratios = [ours[0] / peer[0] for ours, peer in zip(rounds[tool], rounds[fastest])]
        print(
            f"{model}: {tool} takes {medians[tool] / peers[fastest]:.2f} of the time of the fastest, "
            f"{fastest}; round by round {min(ratios):.2f} to {max(ratios):.2f}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="on an NVIDIA GPU")
    parser.add_argument("--threads", nargs="+", type=int, help="of this crate and PyTorch, on the CPU")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="instead of the usual ones")
    parser.add_argument("--without", nargs="+", default=[], metavar="WORD", help="leave out tools with these words")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="at least 2")
    parser.add_argument("--neighbour", action="store_true", help="keep one core busy meanwhile")
    parser.add_argument("--venv", type=Path, default=Path.home() / ".cache/burn-vae/peers")
    parser.add_argument("--python", help="a Python that has the packages, instead of --venv")
    parser.add_argument("--ours", help="the bench `peer`, built before")
    args = parser.parse_args()

    tools, examples = (gpu_tools, GPU_MODELS) if args.gpu else (cpu_tools, CPU_MODELS)
    models = args.models or [model for model in DEFAULT if model in examples]
    if args.threads and (args.gpu or min(args.threads) < 1):
        parser.error("--threads takes numbers above 0, on the CPU")
    if args.epochs < 2:
        parser.error("the first epoch does not count, so there must be two")
    if unknown := set(models) - examples.keys():
        parser.error(f"no model is called {', '.join(sorted(unknown))}, only {', '.join(examples)}")
    def is_left_out(tool):
        return any(word in tool for word in args.without)

    gpu_backends = [name for name in GPU_BACKENDS if not is_left_out(f"{OURS}, {name}")]
    features = gpu_backends if args.gpu else ["flex"]
    if args.python:
        found = shutil.which(args.python) or parser.error(f"there is no {args.python}")
        python = os.path.abspath(found)
    else:
        python = environment(args.venv)
    ours = os.path.abspath(args.ours) if args.ours else our_binary(features)
    commands = tools(python, ours)
    if args.threads:
        each = (on_threads(python, ours, threads) for threads in args.threads)
        commands = {tool: command for tools in each for tool, command in tools.items()}
    commands = {tool: command for tool, command in commands.items() if not is_left_out(tool)}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if args.neighbour else None
    try:
        for model in models:
            rounds = {tool: [] for tool, (_, _, has) in commands.items() if model in has}
            for _ in range(args.rounds):
                for tool, runs in rounds.items():
                    command, variables, _ = commands[tool]
                    run = measure(command, variables, model, examples[model], args.epochs)
                    runs.append(run)
            table(model, rounds)
    finally:
        if busy:
            busy.kill()


if __name__ == "__main__":
    main()
