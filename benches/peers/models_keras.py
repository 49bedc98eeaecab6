"""The models of benches/peer.rs in Keras 3; run by compare.py.

    KERAS_BACKEND=jax python models_keras.py --model mlp
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"


def digits(count):
    with gzip.open(MNIST / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16)
    return pixels.reshape(-1, 784)[:count].astype(np.float32) / 255


class Code(layers.Layer):
    """A sample of the posterior; its divergence is added to the loss."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, posterior):
        mean, log_var = posterior
        kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_var) - 1 - log_var, axis=-1)
        self.add_loss(ops.mean(kl))
        eps = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_var) * eps


def vae(trunk, decoder, latent_dim):
    x = keras.Input((784,))
    h = trunk(x)
    z = Code()([layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)])
    return keras.Model(x, decoder(z))


def mlp():
    trunk = keras.Sequential([layers.Dense(256, activation="relu")])
    decoder = keras.Sequential([layers.Dense(256, activation="relu"), layers.Dense(784)])
    return vae(trunk, decoder, 2)


def conv():
    same = dict(padding="same", activation="relu", strides=2)
    trunk = keras.Sequential(
        [
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, **same),
            layers.Conv2D(64, 3, **same),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
        ]
    )
    decoder = keras.Sequential(
        [
            layers.Dense(3136, activation="relu"),
            layers.Reshape((7, 7, 64)),
            layers.Conv2DTranspose(64, 3, **same),
            layers.Conv2DTranspose(32, 3, **same),
            layers.Conv2DTranspose(1, 3, padding="same"),
            layers.Flatten(),
        ]
    )
    return vae(trunk, decoder, 2)


def nll(x, logits):
    return ops.sum(ops.softplus(logits) - x * logits, axis=-1)


class Clock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["mlp", "conv"], required=True)
    parser.add_argument("--examples", type=int, default=60000)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    network, batch_size = {"mlp": (mlp, 100), "conv": (conv, 32)}[args.model]
    data, model, clock = digits(args.examples), network(), Clock()
    model.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-7), loss=nll)
    history = model.fit(
        data, data, batch_size=batch_size, epochs=args.epochs, callbacks=[clock], verbose=0
    )
    parameters = sum(int(ops.size(weights)) for weights in model.trainable_weights)
    losses = history.history["loss"]
    print(json.dumps({"seconds": clock.seconds, "losses": losses, "parameters": parameters}))


if __name__ == "__main__":
    main()
