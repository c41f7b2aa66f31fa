"""Makes the files beside it from the original's golden: `python make.py PARITY_FOLDER`.

Keras itself saves the trained CondCVAE's weights, in a model whose layers are named as the golden names them, and encodes
the first patches; scripts/keras_to_phenocoder.py then converts what was saved.
Needs benches/peers/requirements.txt; made with Keras 3.15.1, TensorFlow 2.21.0, numpy 2.5.5.
"""

import os
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy
from keras import layers

HERE = Path(__file__).parent
SCRIPT = HERE.parents[4] / "scripts/keras_to_phenocoder.py"
WIDTHS, LATENT, DENSE, PATCHES = (8, 16, 32), 16, 64, 2


def encoder(conditions):
    pixels, one_hot = keras.Input((32, 32, 4)), keras.Input((conditions,))
    x = pixels
    for width in WIDTHS:
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu", name=f"conv_{width}")(x)
    x = layers.Concatenate()([layers.Flatten()(x), one_hot])
    x = layers.Dense(DENSE, activation="relu", name="dense")(x)
    heads = [layers.Dense(LATENT, name=name)(x) for name in ("z_mean", "z_log_var")]
    return keras.Model([pixels, one_hot], heads, name="encoder")


def decoder(conditions):
    latents, one_hot = keras.Input((LATENT,)), keras.Input((conditions,))
    x = layers.Concatenate()([latents, one_hot])
    x = layers.Dense(4 * 4 * WIDTHS[0], activation="relu", name="dense")(x)
    x = layers.Reshape((4, 4, WIDTHS[0]))(x)
    for width in reversed(WIDTHS):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu", name=f"conv_{width}")(x)
    x = layers.Conv2DTranspose(4, 3, padding="same", activation="sigmoid", name="output")(x)
    return keras.Model([latents, one_hot], x, name="decoder")


class CondCVAE(keras.Model):
    def __init__(self, conditions):
        super().__init__()
        self.encoder = encoder(conditions)
        self.decoder = decoder(conditions)


def main():
    parity = Path(sys.argv[1])
    weights = numpy.load(parity / "trained_condcvae_weights.npz")
    golden = numpy.load(parity / "trained_condcvae_forward.npz")
    model = CondCVAE(golden["conditions"].shape[1])
    model.build([(None, 32, 32, 4)])
    for part in (model.encoder, model.decoder):
        for layer in part.layers:
            if layer.weights:
                layer.set_weights([weights[f"{part.name}/{layer.name}/{array}"] for array in ("kernel", "bias")])
    mean, log_var = model.encoder([golden["x_nhwc"], golden["conditions"]])
    for found, name in ((mean, "z_mean"), (log_var, "z_log_var")):
        numpy.testing.assert_allclose(found, golden[name], atol=1e-6)
    model.save_weights(HERE / "trained_condcvae.weights.h5")
    arrays = {name: golden[name][:PATCHES] for name in ("x_nhwc", "conditions", "z_mean", "z_log_var")}
    numpy.savez(HERE / "patches.npz", **arrays)
    files = [HERE / "trained_condcvae.weights.h5", HERE / "trained_condcvae.safetensors"]
    subprocess.run([sys.executable, SCRIPT, *files, "--beta", str(golden["beta"])], check=True)


if __name__ == "__main__":
    main()
