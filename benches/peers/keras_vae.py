"""The network in Keras on TensorFlow, its step compiled: `keras_vae.py ARRAYS.npz [graph | xla]`.

`graph` is TensorFlow's executor with oneDNN kernels, `xla` the same step through XLA.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow
from keras import layers

import worker


def encoder(arrays):
    pixels = keras.Input(arrays.pixels.shape[1:])
    x = pixels
    for kernel, _ in arrays.layers("encoder.conv"):
        x = layers.Conv2D(kernel.shape[3], 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(width(arrays, "encoder.dense"), activation="relu")(x)
    mean = layers.Dense(width(arrays, "encoder.z_mean"))(x)
    log_var = layers.Dense(width(arrays, "encoder.z_log_var"))(x)
    return keras.Model(pixels, [mean, log_var])


def decoder(arrays):
    """Up to the logits: the loss takes these, as Keras' own does behind a sigmoid."""
    latents = keras.Input((width(arrays, "encoder.z_mean"),))
    x = layers.Dense(width(arrays, "decoder.dense"), activation="relu")(latents)
    convolutions = arrays.layers("decoder.conv")
    side = arrays.pixels.shape[1] >> len(convolutions)
    x = layers.Reshape((side, side, convolutions[0][0].shape[3]))(x)
    for kernel, _ in convolutions:
        x = layers.Conv2DTranspose(kernel.shape[2], 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(arrays.pixels.shape[3], 3, padding="same")(x)
    return keras.Model(latents, x)


def width(arrays, name):
    return len(arrays.weights[f"{name}.bias"])


class Contender:
    def __init__(self, arrays, xla):
        self.arrays = arrays
        self.xla = xla
        self.pixels = tensorflow.constant(arrays.pixels)
        self.restart()

    def restart(self):
        arrays = self.arrays
        self.encoder, self.decoder = encoder(arrays), decoder(arrays)
        heads = [arrays.layer(f"encoder.{name}") for name in ("dense", "z_mean", "z_log_var")]
        set_weights(self.encoder, arrays.layers("encoder.conv") + heads)
        ends = [arrays.layer(f"decoder.{name}") for name in ("dense", "output")]
        set_weights(self.decoder, [ends[0], *arrays.layers("decoder.conv"), ends[1]])
        self.variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        self.optimizer = keras.optimizers.Adam(worker.LEARNING_RATE, epsilon=worker.ADAM_EPSILON)
        self.optimizer.build(self.variables)
        compiled = tensorflow.function(jit_compile=self.xla)
        self.compiled_step = compiled(self.step)
        self.compiled_loss = compiled(self.losses)
        self.compiled_encoder = compiled(lambda pixels: self.encoder(pixels, training=False))

    def losses(self, pixels, noise):
        mean, log_var = self.encoder(pixels, training=True)
        z = mean + tensorflow.exp(0.5 * log_var) * tensorflow.random.normal(tensorflow.shape(mean)) if noise else mean
        logits = self.decoder(z, training=True)
        terms = tensorflow.nn.sigmoid_cross_entropy_with_logits(labels=pixels, logits=logits)
        kl = -0.5 * tensorflow.reduce_sum(1 + log_var - tensorflow.square(mean) - tensorflow.exp(log_var))
        return (tensorflow.reduce_sum(terms) + worker.BETA * kl) / pixels.shape[0]

    def step(self, pixels, noise):
        with tensorflow.GradientTape() as tape:
            loss = self.losses(pixels, noise)
        self.optimizer.apply(tape.gradient(loss, self.variables), self.variables)
        return loss

    def train(self, noise):
        self.compiled_step(self.pixels, noise).numpy()

    def encode(self):
        return [latents.numpy() for latents in self.compiled_encoder(self.pixels)]

    def loss(self):
        return float(self.compiled_loss(self.pixels, False))


def set_weights(model, pairs):
    own = [layer for layer in model.layers if layer.weights]
    for layer, (kernel, bias) in zip(own, pairs, strict=True):
        layer.set_weights([kernel, bias])


def main():
    mode = sys.argv[2] if len(sys.argv) > 2 else "graph"
    if mode not in ("graph", "xla"):
        raise SystemExit(f"expected graph or xla, found {mode}")
    tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.config.threading.set_intra_op_parallelism_threads(worker.threads())
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    contender = Contender(worker.Arrays(sys.argv[1]), mode == "xla")
    version = f"{keras.__version__}, TensorFlow {tensorflow.__version__}"
    worker.serve(f"Keras {mode}", version, contender)


if __name__ == "__main__":
    main()
