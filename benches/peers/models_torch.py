"""The models of benches/peer.rs in PyTorch; run by compare.py.

    python models_torch.py --model mlp --compile default
    python models_torch.py --model mlp4096 --device cuda
"""

import argparse
import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def digits(count):
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return torch.from_numpy(pixels.reshape(-1, 784)[:count].astype(np.float32) / 255)


def glorot(layer):
    if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


class Vae(nn.Module):
    def __init__(self, encoder, features, latent_dim, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.mean, self.log_var = (nn.Linear(features, latent_dim) for _ in range(2))
        self.latent_dim = latent_dim
        self.apply(glorot)

    def posterior(self, x):
        h = self.encoder(x)
        return self.mean(h), self.log_var(h)

    def elbo(self, x, eps):
        mean, log_var = self.posterior(x)
        logits = self.decoder(mean + (0.5 * log_var).exp() * eps[0]).flatten(1)
        nll = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        return (nll + kl).mean()

    def iwae(self, x, eps):
        mean, log_var = self.posterior(x)
        z = mean + (0.5 * log_var).exp() * eps
        logits = self.decoder(z)
        log_likelihood = (x * logits - F.softplus(logits)).sum(-1)
        ratio = 0.5 * (eps.square() + log_var - z.square()).sum(-1)
        bound = torch.logsumexp(log_likelihood + ratio, 0) - math.log(eps.shape[0])
        return -bound.mean()


def mlp():
    return Vae(
        nn.Sequential(nn.Linear(784, 256), nn.ReLU()),
        256,
        2,
        nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 784)),
    )


def conv():
    up = dict(stride=2, padding=1, output_padding=1)
    return Vae(
        nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3136, 16),
            nn.ReLU(),
        ),
        16,
        2,
        nn.Sequential(
            nn.Linear(2, 3136),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 64, 3, **up),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, **up),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, 1, 1),
        ),
    )


def normalized(features, image=False):
    """Batch normalisation with the constants of Keras."""
    kind = nn.BatchNorm2d if image else nn.BatchNorm1d
    return nn.ReLU(), kind(features, eps=1e-3, momentum=0.01)


def with_batch_norm(channels, kernel, sizes):
    """The post's networks with batch normalisation after each activation."""
    pad, low, high = kernel // 2, sizes[-1], channels[-1]
    encoder, decoder = [nn.Unflatten(1, (1, 28, 28))], []
    for before, after in zip([1, *channels], channels):
        encoder += [nn.Conv2d(before, after, kernel, 2, pad), *normalized(after, True)]
    flat = high * low * low
    encoder += [nn.Flatten(), nn.Linear(flat, 20), *normalized(20)]
    decoder += [nn.Linear(2, flat), *normalized(flat), nn.Unflatten(1, (high, low, low))]
    before = high
    for after, small, large in zip(channels[::-1], sizes[::-1], [*sizes[-2::-1], 28]):
        odd = dict(output_padding=large - (2 * small - 1))
        decoder += [nn.ConvTranspose2d(before, after, kernel, 2, pad, **odd), *normalized(after, True)]
        before = after
    decoder += [nn.ConvTranspose2d(before, 1, 3, 1, 1)]
    return Vae(nn.Sequential(*encoder), 20, 2, nn.Sequential(*decoder))


def batchnorm():
    return with_batch_norm([8, 16], 3, [14, 7])


def dcgan():
    return with_batch_norm([128, 256, 512, 1024], 5, [14, 7, 4, 2])


def deep():
    return Vae(
        nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh()),
        200,
        50,
        nn.Sequential(
            nn.Linear(50, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, 784)
        ),
    )


# The network, the batch size, the samples, and whether pixels are binarised at every use.
MODELS = {
    "mlp": (mlp, 100, 1, False),
    "mlp4096": (mlp, 4096, 1, False),
    "conv": (conv, 32, 1, False),
    "batchnorm": (batchnorm, 128, 1, False),
    "dcgan": (dcgan, 128, 1, False),
    "iwae1": (deep, 100, 1, True),
    "iwae5": (deep, 100, 5, True),
    "iwae50": (deep, 100, 50, True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--examples", type=int, default=60000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--compile", metavar="MODE", help="of torch.compile")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    network, batch_size, samples, is_binarized = MODELS[args.model]
    data, model = digits(args.examples).to(args.device), network().to(args.device)
    parameters = sum(weights.numel() for weights in model.parameters())
    if args.model in ("conv", "batchnorm", "dcgan"):
        model = model.to(memory_format=torch.channels_last)
    objective = model.iwae if is_binarized else model.elbo
    if args.compile:
        objective = torch.compile(objective, mode=args.compile)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)

    seconds, losses = [], []
    for _ in range(args.epochs):
        start, total = time.perf_counter(), torch.zeros((), device=args.device)
        for rows in torch.randperm(len(data), device=args.device).split(batch_size):
            x = data[rows]
            if is_binarized:
                x = torch.bernoulli(x)
            eps = torch.randn(samples, len(x), model.latent_dim, device=args.device)
            optimizer.zero_grad(set_to_none=True)
            loss = objective(x, eps)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(x)
        losses.append(total.item() / len(data))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "losses": losses, "parameters": parameters}))


if __name__ == "__main__":
    main()
