#!/usr/bin/env python3
"""The twin of examples/iwae_mnist.rs in PyTorch: the same model, protocol and budget.

    python iwae_torch.py train --k 50 --objective iwae --out twin/iwae50.pt
    python iwae_torch.py evaluate --out twin/iwae50.pt --test out/iwae_mnist/test-images-idx3-ubyte.gz

Protocol of Burda et al. (2016), shortened: batch 100, learning rate 1e-3 * 10^(-i/7) for 3^i epochs,
i = 0 .. stages - 1; pixels binarised anew at every use. A run that was stopped goes on where it was.
`evaluate` takes the binarised test set that the Rust example writes, so that both are measured on the
same bits.
"""

import argparse
import gzip
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def images(path):
    with gzip.open(path) as file:
        data = file.read()
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 784)


def linear(fan_in, fan_out):
    layer = nn.Linear(fan_in, fan_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Vae(nn.Module):
    """784-200-200-(50, 50), 50-200-200-784, tanh."""

    def __init__(self, pixel_means):
        super().__init__()
        self.encoder = nn.Sequential(linear(784, 200), nn.Tanh(), linear(200, 200), nn.Tanh())
        self.mean, self.log_var = linear(200, 50), linear(200, 50)
        self.decoder = nn.Sequential(
            linear(50, 200), nn.Tanh(), linear(200, 200), nn.Tanh(), linear(200, 784)
        )
        p = pixel_means.clamp(1e-3, 1 - 1e-3)
        self.decoder[-1].bias.data = torch.log(p / (1 - p))

    def forward(self, x, eps):
        """log p(x|z), log p(z) - log q(z|x) of each sample, [k, batch]; KL in closed form, [batch]."""
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + (0.5 * log_var).exp() * eps
        logits = self.decoder(z)
        nll = (F.softplus(logits) - x * logits).sum(-1)
        ratio = 0.5 * (eps.square() + log_var - z.square()).sum(-1)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(-1)
        return -nll, ratio, kl


def bound(model, x, eps, objective):
    log_likelihood, ratio, kl = model(x, eps)
    if objective == "vae":
        return (log_likelihood.mean(0) - kl).mean()
    return (torch.logsumexp(log_likelihood + ratio, 0) - math.log(eps.shape[0])).mean()


def stages(count):
    for i in range(count):
        for _ in range(3**i):
            yield 1e-3 * 10 ** (-i / 7)


def train(args):
    torch.manual_seed(args.seed)
    pixels = images(MNIST / "train-images-idx3-ubyte.gz")
    x = torch.from_numpy(pixels.astype(np.float32) / 255)
    model = Vae(x.mean(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-4)
    generator = torch.Generator().manual_seed(args.seed)
    done, log = 0, []
    if args.out.exists():
        saved = torch.load(args.out)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["generator"])
        done, log = saved["done"], saved["log"]
    step = torch.compile(bound) if args.compile else bound
    for epoch, rate in enumerate(stages(args.stages)):
        if epoch < done:
            continue
        for group in optimizer.param_groups:
            group["lr"] = rate
        start, total = time.time(), 0.0
        for rows in torch.randperm(len(x), generator=generator).split(args.batch_size):
            p = x[rows]
            batch = (torch.rand(p.shape, generator=generator) < p).float()
            eps = torch.randn(args.k, len(rows), 50, generator=generator)
            optimizer.zero_grad(set_to_none=True)
            loss = -step(model, batch, eps, args.objective)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        log.append((epoch + 1, rate, total / len(x), time.time() - start))
        print("epoch %d lr %.2e train_bound %.3f seconds %.1f" % log[-1], flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        unfinished = args.out.with_suffix(".new")
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "generator": generator.get_state(),
                "done": epoch + 1,
                "log": log,
                "pixel_means": x.mean(0),
            },
            unfinished,
        )
        os.replace(unfinished, args.out)


@torch.no_grad()
def evaluate(args):
    saved = torch.load(args.out)
    model = Vae(saved["pixel_means"])
    model.load_state_dict(saved["model"])
    model = torch.compile(model) if args.compile else model
    test = torch.from_numpy((images(args.test) > 127).astype(np.float32))
    generator = torch.Generator().manual_seed(args.seed)
    sums, elbo = [], 0.0
    chunk = 50
    for rows in test.split(20):
        weights = []
        for _ in range(args.samples // chunk):
            eps = torch.randn(chunk, len(rows), 50, generator=generator)
            log_likelihood, ratio, kl = model(rows, eps)
            weights.append((log_likelihood + ratio).double())
            elbo += (log_likelihood.double().mean(0) - kl).sum().item() * chunk / args.samples
        weights = torch.cat(weights)
        sums.append(torch.logsumexp(weights, 0) - math.log(len(weights)))
    sums = torch.cat(sums)
    print(
        "epochs=%d nll=%.3f standard_error=%.3f nelbo=%.3f"
        % (saved["done"], -sums.mean(), sums.std() / math.sqrt(len(sums)), -elbo / len(test))
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["train", "evaluate"])
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--objective", choices=["vae", "iwae"], default="vae")
    parser.add_argument("--stages", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, required=True, help="weights and state of the run")
    parser.add_argument("--test", type=Path, help="binarised test images")
    parser.add_argument("--samples", type=int, default=5000, help="K of the evaluation")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    {"train": train, "evaluate": evaluate}[args.command](args)


if __name__ == "__main__":
    main()
