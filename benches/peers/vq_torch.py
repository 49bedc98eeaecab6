#!/usr/bin/env python3
"""The twin of examples/vq_mnist.rs in PyTorch: the same networks, protocol and budget.

    pip install torch vector-quantize-pytorch
    python vq_torch.py --codebook vq
    python vq_torch.py --codebook fsq

Batch 100, Adam at 1e-3, pixels binarised anew in each epoch, the test set once (other bits than in the
Rust example). Quantisation by vector-quantize-pytorch; FSQ has a batch normalisation without scale and
shift before it, as here. The figure is the ELBO of the one code of an image.
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
from vector_quantize_pytorch import FSQ, VectorQuantize

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def images(name):
    with gzip.open(MNIST / name) as file:
        data = np.frombuffer(file.read(), np.uint8, offset=16)
    return torch.from_numpy(data.reshape(-1, 1, 28, 28).copy()).float() / 255


def glorot(module):
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return module


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, channels, 1)
        )

    def forward(self, x):
        return x + self.body(x)


class VqVae(nn.Module):
    def __init__(self, kind, codes, columns, channels):
        super().__init__()
        middle = lambda inputs: [
            nn.Conv2d(inputs, channels, 3, padding=1), Residual(channels), Residual(channels), nn.ReLU()
        ]
        half = channels // 2
        self.encoder = nn.Sequential(
            nn.Conv2d(1, half, 4, 2, 1), nn.ReLU(), nn.Conv2d(half, channels, 4, 2, 1), nn.ReLU(),
            *middle(channels), nn.Conv2d(channels, columns, 1),
        )
        self.decoder = nn.Sequential(
            *middle(columns),
            nn.ConvTranspose2d(channels, half, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(half, 1, 4, 2, 1),
        )
        self.kind, self.columns = kind, columns
        if kind == "fsq":
            self.norm = nn.BatchNorm2d(columns, eps=1e-3, momentum=0.01, affine=False)
            self.quantizer = FSQ([8, 6, 5])
        else:
            # A code is dead below a tenth of the mean use, as in the Rust example.
            self.quantizer = VectorQuantize(
                dim=columns, codebook_size=codes, decay=0.99, kmeans_init=True, commitment_weight=1.0,
                threshold_ema_dead_code=0.1 * 100 * 49 / codes, rotation_trick=kind == "vq-rotation",
            )
        self.apply(glorot)

    def encode(self, x):
        """Codes, their indices, and the commitment loss of an example."""
        y = self.encoder(x)
        if self.kind == "fsq":
            codes, indices = self.quantizer(self.norm(y).flatten(2).transpose(1, 2))
            return codes, indices, 0.0
        codes, indices, loss = self.quantizer(y.flatten(2).transpose(1, 2))
        return codes, indices, 0.25 * self.columns * loss.sum()

    def nll(self, codes, x):
        logits = self.decoder(codes.transpose(1, 2).reshape(-1, self.columns, 7, 7))
        return (F.softplus(logits) - x * logits).flatten(1).sum(1)


class Masked(nn.Conv2d):
    def __init__(self, inputs, outputs, kernel, mask):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.register_buffer("mask", mask)

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)


class Gated(nn.Module):
    def __init__(self, channels, kernel, is_first):
        super().__init__()
        centre = kernel // 2
        above, left = torch.zeros(kernel, kernel), torch.zeros(kernel, kernel)
        above[: centre + (not is_first)] = 1
        left[centre, : centre + (not is_first)] = 1
        self.above = Masked(channels, 2 * channels, kernel, above)
        self.left = Masked(channels, 2 * channels, kernel, left)
        self.to_horizontal = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)
        self.is_first = is_first

    @staticmethod
    def gate(x):
        a, b = x.chunk(2, 1)
        return torch.tanh(a) * torch.sigmoid(b)

    def forward(self, above, left):
        vertical = self.above(above)
        output = self.output(self.gate(self.left(left) + self.to_horizontal(vertical)))
        return self.gate(vertical), output if self.is_first else output + left


class PixelCnn(nn.Module):
    def __init__(self, codes, channels=32, layers=8):
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.layers = nn.ModuleList([Gated(channels, 5 if i == 0 else 3, i == 0) for i in range(layers)])
        self.head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, 2 * channels, 1), nn.ReLU(), nn.Conv2d(2 * channels, codes, 1)
        )
        self.apply(glorot)

    def nll(self, indices):
        above = left = self.embedding(indices.reshape(-1, 7, 7)).permute(0, 3, 1, 2)
        for layer in self.layers:
            above, left = layer(above, left)
        return F.cross_entropy(self.head(left).flatten(2), indices, reduction="none").sum(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--codebook", choices=["vq", "vq-rotation", "fsq"], default="vq")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--prior-epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    codes, columns = (240, 3) if args.codebook == "fsq" else (128, 16)
    model = VqVae(args.codebook, codes, columns, 64)
    prior = PixelCnn(codes)
    train, test = images("train-images-idx3-ubyte.gz"), torch.bernoulli(images("t10k-images-idx3-ubyte.gz"))

    def fit(parameters, loss, epochs):
        optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-8)
        start = time.time()
        for _ in range(epochs):
            bits = torch.bernoulli(train)
            for batch in torch.randperm(len(bits)).split(100):
                value = loss(bits[batch])
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
        return (time.time() - start) / max(epochs, 1)

    def first(x):
        z, _, commitment = model.encode(x)
        return model.nll(z, x).mean() + commitment

    def second(x):
        with torch.no_grad():
            indices = model.encode(x)[1]
        return prior.nll(indices).mean()

    seconds = fit(model.parameters(), first, args.epochs)
    model.eval()
    prior_seconds = fit(prior.parameters(), second, args.prior_epochs)
    sums, used = torch.zeros(2), set()
    with torch.no_grad():
        for x in test.split(500):
            z, indices, _ = model.encode(x)
            sums += torch.stack([model.nll(z, x).sum(), prior.nll(indices).sum()])
            used |= set(indices.flatten().tolist())
    distortion, rate = (sums / len(test)).tolist()
    print(f"{args.codebook}: {len(used)} of {codes} codes are used")
    print(f"distortion={distortion:.2f} uniform={distortion + 49 * math.log(codes):.2f}")
    print(f"nelbo={distortion + rate:.2f} bits per dimension: {(distortion + rate) / 784 / math.log(2):.4f}")
    print(f"{seconds:.1f} and {prior_seconds:.1f} s per epoch")


main()
