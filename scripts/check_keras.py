#!/usr/bin/env python3
"""Asks scripts/keras_to_phenocoder.py to convert what Keras saved, and what it must refuse.

    python check_keras.py

1. Keras' file of the golden, crates/phenocoder-model/tests/goldens/keras, becomes the bytes that lie beside it, which the
   tests of phenocoder-model open and encode with.
2. So does the same file with layers as attributes of a Keras layer, without names, and inside a `.keras` archive.
3. A network without conditions and with patches that are not square has the configuration it should have.
4. A file with an array missing, too many or misshapen is refused, and the array is named.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "crates/phenocoder-model/tests/goldens/keras"
SAVED = GOLDEN / "trained_condcvae.weights.h5"
EXPECTED = (GOLDEN / "trained_condcvae.safetensors").read_bytes()


def convert(weights: Path, *arguments: str) -> tuple[bytes | None, str]:
    output = weights.parent / "converted.safetensors"
    output.unlink(missing_ok=True)
    command = [sys.executable, HERE / "keras_to_phenocoder.py", weights, output, *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    return (output.read_bytes() if output.exists() else None), run.stderr


def metadata_of(data: bytes | None) -> dict[str, str]:
    if data is None:
        return {}
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def changed(folder: Path, change) -> Path:
    path = folder / "changed.weights.h5"
    shutil.copyfile(SAVED, path)
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(path: str, shape: tuple):
    def change(file: h5py.File) -> None:
        del file[path]
        file[path] = numpy.zeros(shape, "f4")

    return change


def without_names(file: h5py.File) -> None:
    """As Keras wrote before it noted the names of layers."""
    file.visititems(lambda _, item: item.attrs.pop("name", None) and None)


def as_attributes(file: h5py.File) -> None:
    """A layer that holds a list of convolutions, and its dense layers as attributes, as Keras saves it."""
    layers = file["encoder/layers"]
    for i, name in enumerate(("conv2d", "conv2d_1", "conv2d_2")):
        file.move(layers[name].name, f"encoder/convolutions/{name}")
    for old, new in (("dense_2", "z_log_var"), ("dense_1", "z_mean"), ("dense", "dense")):
        layers[f"{old}/vars"].attrs["name"] = old
        file.move(layers[old].name, f"encoder/{new}")
    del file["encoder/layers"]


def plain_network(path: Path) -> None:
    """A CVAE of two layers for patches of 8×12×3 with five latents."""
    shapes = {
        "encoder/layers/conv2d": (3, 3, 3, 4),
        "encoder/layers/conv2d_1": (3, 3, 4, 6),
        "encoder/layers/dense": (2 * 3 * 6, 7),
        "encoder/layers/dense_1": (7, 5),
        "encoder/layers/dense_2": (7, 5),
        "decoder/layers/dense": (5, 2 * 3 * 4),
        "decoder/layers/conv2d_transpose": (3, 3, 6, 4),
        "decoder/layers/conv2d_transpose_1": (3, 3, 4, 6),
        "decoder/layers/conv2d_transpose_2": (3, 3, 3, 4),
    }
    with h5py.File(path, "w") as file:
        for name, shape in shapes.items():
            outputs = shape[2] if "transpose" in name else shape[-1]
            file[f"{name}/vars/0"] = numpy.ones(shape, "f4")
            file[f"{name}/vars/1"] = numpy.ones(outputs, "f4")


def main() -> int:
    failures = []

    def expect(what: str, holds: bool, found: object = "") -> None:
        print(f"{'ok    ' if holds else 'FAILED'}  {what}{'' if holds else f': {found}'}")
        if not holds:
            failures.append(what)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for what, change in (
            ("Keras' file", lambda file: None),
            ("the file without names of layers", without_names),
            ("layers as attributes", as_attributes),
        ):
            data, errors = convert(changed(folder, change))
            expect(f"{what} becomes the golden's bytes", data == EXPECTED, errors)
        archive = folder / "model.keras"
        with zipfile.ZipFile(archive, "w") as file:
            file.write(SAVED, "model.weights.h5")
        data, errors = convert(archive)
        expect("a .keras archive becomes the golden's bytes", data == EXPECTED, errors)
        data, errors = convert(changed(folder, lambda file: None), "--sections-from", str(folder / "model.keras"))
        expect("sections from no weights file are refused", data is None and "no weights file" in errors, errors)

        other = folder / "other.safetensors"
        header = json.dumps({"__metadata__": {"section.channels": '["DAPI"]', "other": "1"}}).encode()
        other.write_bytes(len(header).to_bytes(8, "little") + header)
        data, errors = convert(changed(folder, lambda file: None), "--sections-from", str(other))
        metadata = metadata_of(data)
        copied = {key: value for key, value in metadata.items() if not key.startswith("phenocoder.")}
        expect("sections are copied, and nothing else", copied == {"section.channels": '["DAPI"]'}, errors or metadata)

        plain_network(folder / "plain.weights.h5")
        data, errors = convert(folder / "plain.weights.h5")
        expect("patches that are not square need their size", data is None and "--patch-size" in errors, errors)
        data, errors = convert(folder / "plain.weights.h5", "--patch-size", "8", "12", "--beta", "0.5")
        config = json.loads(metadata_of(data).get("phenocoder.config", "{}"))
        expected = {
            "input": {"height": 8, "width": 12, "channels": 3},
            "conv_layers": [4, 6],
            "dense_dim": 7,
            "latent_dim": 5,
            "dropout": 0.0,
            "beta": 0.5,
            "n_conditions": 0,
        }
        expect("a network without conditions has its configuration", config == expected, errors or config)

        def delete(path: str):
            return lambda file: file.__delitem__(path)

        def add(path: str):
            return lambda file: file.__setitem__(path, numpy.zeros(8, "f4"))

        def not_finite(file: h5py.File) -> None:
            file["decoder/layers/dense/vars/0"][0, 0] = numpy.nan

        for message, change in (
            ("decoder: missing", delete("decoder")),
            ("encoder/layers/conv2d_1/vars/1: missing", delete("encoder/layers/conv2d_1/vars/1")),
            ("encoder/layers/conv2d/vars/2: too many", add("encoder/layers/conv2d/vars/2")),
            ("z_log_var: missing", delete("encoder/layers/dense_2")),
            ("encoder/layers/conv2d_2/vars/0: kernel (height, width, in, out) has shape (3, 3, 16, 32), expected (3, 3, 8",
             delete("encoder/layers/conv2d_1")),
            ("encoder/layers/conv2d_1/vars/0: kernel (height, width, in, out) has shape (5, 5, 8, 16)",
             replace("encoder/layers/conv2d_1/vars/0", (5, 5, 8, 16))),
            ("encoder/layers/dense_2/vars/0: kernel (in, out) has shape (64, 15), expected (64, 16)",
             replace("encoder/layers/dense_2/vars/0", (64, 15))),
            ("decoder/layers/dense/vars/1: bias has shape (127,), expected (128,)",
             replace("decoder/layers/dense/vars/1", (127,))),
            ("found decoder/layers/conv2d_transpose (`conv_32`), decoder/layers/conv2d_transpose_1 (`conv_16`), "
             "decoder/layers/conv2d_transpose_3 (`output`)", delete("decoder/layers/conv2d_transpose_2")),
            ("encoder/layers/dense/vars/0 has 516 inputs, decoder/layers/dense/vars/0 has 19",
             replace("decoder/layers/dense/vars/0", (19, 128))),
            ("decoder/layers/dense: the kernel has values that are not finite", not_finite),
        ):
            data, errors = convert(changed(folder, change))
            expect(f"refused: {message}", data is None and message in errors, errors)
    print("accepted" if not failures else f"REJECTED: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
