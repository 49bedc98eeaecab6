#!/usr/bin/env python3
"""The twin of examples/discrete_mnist.rs in PyTorch: the same models, protocol and budget.

    python discrete_torch.py train --latents gumbel --epochs 10 --out twin/gumbel.pt
    python discrete_torch.py train --latents bits --hidden none --epochs 10 --out twin/bits.pt
    python discrete_torch.py evaluate --out twin/gumbel.pt \
        --test out/discrete_mnist/test-images-idx3-ubyte.gz

Batch 100, Adam at 1e-3, the temperature max(floor, start exp(-rate step)), pixels binarised anew in every
epoch. `gumbel` takes the divergence of the discrete distributions (Jang et al. 2017), `bits` that of the
relaxed densities, in the coordinates of the logistic variables (Maddison et al. 2017), the
straight-through ones exact samples and the discrete divergence. `evaluate` draws exact samples, on the
binarised test set that the Rust example writes, so that both are measured on the same bits.
"""

import argparse
import gzip
import math
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


def mlp(sizes):
    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Vae(nn.Module):
    """784-hidden-latents, latents-hidden-784, ReLU."""

    def __init__(self, latents, groups, categories, bits, hidden):
        super().__init__()
        self.latents, self.groups, self.categories = latents, groups, categories
        self.is_bits = latents.startswith("bits")
        dim = bits if self.is_bits else groups * categories
        self.encoder = mlp([784, *hidden, dim])
        self.decoder = mlp([dim, *hidden[::-1], 784])

    def nll(self, z, x):
        logits = self.decoder(z)
        return (F.softplus(logits) - x * logits).sum(-1)

    def perturb(self, logits, samples, generator):
        """Logits with Gumbel noise in groups, or with logistic noise, [samples, batch, ..]."""
        u = torch.rand(samples, *logits.shape, generator=generator).clamp(2**-24, 1 - 2**-24)
        if self.is_bits:
            return logits + u.log() - (-u).log1p()
        return self.group(logits - (-u.log()).log())

    def group(self, x):
        return x.unflatten(-1, (self.groups, self.categories))

    def exact(self, perturbed):
        if self.is_bits:
            return (perturbed > 0).float()
        return F.one_hot(perturbed.argmax(-1), self.categories).float().flatten(-2)

    def soft(self, perturbed, temperature):
        if self.is_bits:
            return torch.sigmoid(perturbed / temperature)
        return torch.softmax(perturbed / temperature, -1).flatten(-2)

    def log_mass(self, logits, z):
        if self.is_bits:
            return (z * F.logsigmoid(logits) + (1 - z) * F.logsigmoid(-logits)).sum(-1)
        return (z * F.log_softmax(self.group(logits), -1).flatten(-2)).sum(-1)

    def kl(self, logits):
        """From the uniform prior, of the discrete distributions."""
        if self.is_bits:
            p = torch.sigmoid(logits)
            terms = p * F.logsigmoid(logits) + (1 - p) * F.logsigmoid(-logits) + math.log(2)
            return terms.sum(-1)
        log_p = F.log_softmax(self.group(logits), -1)
        return (log_p.exp() * (log_p + math.log(self.categories))).sum((-1, -2))

    def loss(self, x, temperature, generator):
        logits = self.encoder(x)
        perturbed = self.perturb(logits, 1, generator)
        soft = self.soft(perturbed, temperature)
        if self.latents.endswith("-st"):
            z, kl = self.exact(perturbed) + soft - soft.detach(), self.kl(logits)
        elif self.is_bits:
            # Logistic densities of the perturbed logits; the volumes of both are the same.
            log_density = lambda s, l: F.logsigmoid(s - l) + F.logsigmoid(l - s)
            ratio = log_density(perturbed, logits) - log_density(perturbed, 0 * logits)
            z, kl = soft, ratio.sum(-1)[0]
        else:
            z, kl = soft, self.kl(logits)
        return (self.nll(z, x)[0] + kl).mean()


def model_of(args):
    hidden = [] if args.hidden == "none" else [int(units) for units in args.hidden.split(",")]
    return Vae(args.latents, args.groups, args.categories, args.bits, hidden)


def train(args):
    torch.manual_seed(args.seed)
    x = torch.from_numpy(images(MNIST / "train-images-idx3-ubyte.gz").astype(np.float32) / 255)
    model = model_of(args)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-8)
    generator = torch.Generator().manual_seed(args.seed)
    step = 0
    for epoch in range(1, args.epochs + 1):
        start, total = time.time(), 0.0
        for rows in torch.randperm(len(x), generator=generator).split(100):
            p = x[rows]
            batch = (torch.rand(p.shape, generator=generator) < p).float()
            temperature = max(args.floor, args.temperature * math.exp(-args.rate * step))
            optimizer.zero_grad(set_to_none=True)
            loss = model.loss(batch, temperature, generator)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            step += 1
        figures = (epoch, total / len(x), temperature, time.time() - start)
        print("epoch %d train_loss %.3f temperature %.3f seconds %.1f" % figures, flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    options = {key: getattr(args, key) for key in ("latents", "groups", "categories", "bits", "hidden")}
    torch.save({"model": model.state_dict(), "options": options, "epochs": args.epochs}, args.out)


@torch.no_grad()
def evaluate(args):
    saved = torch.load(args.out)
    model = model_of(argparse.Namespace(**saved["options"]))
    model.load_state_dict(saved["model"])
    test = torch.from_numpy((images(args.test) > 127).astype(np.float32))
    generator = torch.Generator().manual_seed(args.seed)
    sums, elbo, chunk = [], 0.0, min(50, args.samples)
    for x in test.split(20):
        logits, weights = model.encoder(x), []
        for _ in range(args.samples // chunk):
            z = model.exact(model.perturb(logits, chunk, generator))
            ratio = model.log_mass(0 * logits, z) - model.log_mass(logits, z)
            nll = model.nll(z, x).double()
            elbo -= (nll.mean(0) + model.kl(logits)).sum().item() * chunk / args.samples
            weights.append(ratio.double() - nll)
        weights = torch.cat(weights)
        sums.append(torch.logsumexp(weights, 0) - math.log(len(weights)))
    sums = torch.cat(sums)
    print(
        "epochs=%d nll=%.3f standard_error=%.3f nelbo=%.3f"
        % (saved["epochs"], -sums.mean(), sums.std() / math.sqrt(len(sums)), -elbo / len(test))
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["train", "evaluate"])
    choices = ["gumbel", "gumbel-st", "bits", "bits-st"]
    parser.add_argument("--latents", choices=choices, default="gumbel")
    parser.add_argument("--groups", type=int, default=20)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--bits", type=int, default=200)
    parser.add_argument("--hidden", default="512,256", help="units of the encoder's layers, or none")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=3e-5)
    parser.add_argument("--floor", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="weights of the run")
    parser.add_argument("--test", type=Path, help="binarised test images")
    parser.add_argument("--samples", type=int, default=1000, help="K of the evaluation")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    {"train": train, "evaluate": evaluate}[args.command](args)


if __name__ == "__main__":
    main()
