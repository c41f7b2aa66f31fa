#!/usr/bin/env python3
"""Converts weights of the original's CVAE or CondCVAE, saved by Keras 3, into a weights file of phenocoder.

    python keras_to_phenocoder.py MODEL.weights.h5 MODEL.safetensors [--patch-size HEIGHT WIDTH] [--beta 0.01]
                                  [--sections-from OTHER.safetensors]

MODEL.weights.h5 is what `save_weights` wrote; a `.keras` archive will do as well.  It needs h5py and numpy, not Keras.

Everything about the network but the size of its patches can be seen in the shapes of its weights; patches are taken to
be square unless `--patch-size` says otherwise.  `--beta` is the weight of the Kullback-Leibler part, for whoever trains
on; `--sections-from` copies what a file of phenocoder says beside its weights (channels, scaling, conditions).
docs/guide/from-python.md has the table of names.

Exit code: 0 converted, 1 the file holds something else (the array is named), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy

# The version of the format in docs of `phenocoder_model::weights`.
FORMAT = "1"
WRITTEN_BY = "0.1.0"


class Misfit(Exception):
    """An array that is missing, too many, or of a shape that does not fit."""


@dataclass
class Layer:
    """A kernel and its bias, with what Keras calls the layer and where they lie."""

    path: str
    name: str
    kernel: numpy.ndarray
    bias: numpy.ndarray

    def __str__(self) -> str:
        return f"{self.path} (`{self.name}`)"


# ---------------------------------------------------------------- reading


def open_weights(path: Path) -> h5py.File:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    return h5py.File(path)


def natural(path: str) -> list:
    """`conv2d_2` before `conv2d_10`: the order in which the layers were made."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def layers_of(file: h5py.File, part: str) -> list[Layer]:
    """All layers with weights below `part`.

    Keras 3 writes the variables of a layer as `…/vars/0`, `…/vars/1`; the folder above is named after the attribute, or
    after the class where layers lie in a list, and the attribute `name` of `vars` after the layer.
    """
    if part not in file:
        raise Misfit(f"{part}: missing; the file holds {sorted(file)}")
    found: dict[str, h5py.Group] = {}

    def visit(path: str, item) -> None:
        if isinstance(item, h5py.Group) and path.split("/")[-1] == "vars" and len(item):
            found[f"{part}/{path}"] = item

    file[part].visititems(visit)
    layers = []
    for path in sorted(found, key=natural):
        variables = found[path]
        for index in ("0", "1"):
            if index not in variables:
                raise Misfit(f"{path}/{index}: missing; a layer has a kernel and a bias")
        if len(variables) > 2:
            raise Misfit(f"{path}/2: too many; a layer has a kernel and a bias")
        folder = path.removesuffix("/vars")
        name = variables.attrs.get("name", folder.split("/")[-1])
        layers.append(Layer(folder, str(name), variables["0"][()], variables["1"][()]))
    return layers


def checked(layer: Layer, kernel: tuple, what: str) -> Layer:
    """The layer, once its shapes are those expected; `None` stands for any number."""
    found = layer.kernel.shape
    fits = len(found) == len(kernel) and all(e is None or e == f for e, f in zip(kernel, found))
    if not fits:
        expected = ", ".join("any" if n is None else str(n) for n in kernel)
        raise Misfit(f"{layer.path}/vars/0: {what} has shape {found}, expected ({expected})")
    return layer


def check_bias(layer: Layer, outputs: int) -> None:
    if layer.bias.shape != (outputs,):
        raise Misfit(f"{layer.path}/vars/1: bias has shape {layer.bias.shape}, expected ({outputs},)")


def is_convolution(layer: Layer) -> bool:
    return layer.kernel.ndim == 4


def called(layer: Layer, name: str) -> bool:
    return name in (layer.name, layer.path.split("/")[-1])


def encoder_heads(dense: list[Layer], part: str) -> list[Layer]:
    """The dense layer and the two heads, by name, else in the order in which they were made."""
    mean = [layer for layer in dense if called(layer, "z_mean")]
    log_var = [layer for layer in dense if called(layer, "z_log_var")]
    if len(mean) == len(log_var) == 1:
        rest = [layer for layer in dense if layer not in mean + log_var]
        dense = rest + mean + log_var
    elif mean or log_var:
        raise Misfit(f"{part}: {'z_log_var' if mean else 'z_mean'}: missing among {words(dense)}")
    if len(dense) != 3:
        raise Misfit(f"{part}: expected three dense layers (dense, z_mean, z_log_var), found {words(dense)}")
    return dense


def words(layers: list[Layer]) -> str:
    return ", ".join(map(str, layers)) or "none"


def network(file: h5py.File, options: argparse.Namespace) -> tuple[dict, dict[str, Layer]]:
    """The configuration, and the layers by our names."""
    encoder, decoder = layers_of(file, options.encoder), layers_of(file, options.decoder)
    convolutions = [layer for layer in encoder if is_convolution(layer)]
    if not convolutions:
        raise Misfit(f"{options.encoder}: no convolution, only {words(encoder)}")
    named = {}
    channels = pixels = convolutions[0].kernel.shape[2]
    widths = []
    for i, layer in enumerate(convolutions):
        checked(layer, (3, 3, channels, None), "kernel (height, width, in, out)")
        channels = layer.kernel.shape[3]
        check_bias(layer, channels)
        widths.append(channels)
        named[f"encoder.conv.{i}"] = layer

    dense, mean, log_var = encoder_heads([layer for layer in encoder if not is_convolution(layer)], options.encoder)
    checked(dense, (None, None), "kernel (in, out)")
    dense_dim = dense.kernel.shape[1]
    checked(mean, (dense_dim, None), "kernel (in, out)")
    latent = mean.kernel.shape[1]
    checked(log_var, (dense_dim, latent), "kernel (in, out)")
    for name, layer in (("dense", dense), ("z_mean", mean), ("z_log_var", log_var)):
        check_bias(layer, layer.kernel.shape[1])
        named[f"encoder.{name}"] = layer

    inner = [layer for layer in decoder if not is_convolution(layer)]
    if len(inner) != 1:
        raise Misfit(f"{options.decoder}: expected one dense layer, found {words(inner)}")
    checked(inner[0], (None, None), "kernel (in, out)")
    inputs, outputs = inner[0].kernel.shape
    check_bias(inner[0], outputs)
    named["decoder.dense"] = inner[0]
    height, width = patch_size(inner[0], outputs, widths, options)
    transposed = [layer for layer in decoder if is_convolution(layer)]
    if len(transposed) != len(widths) + 1:
        expected = f"{len(widths)} that double the patch and the output"
        raise Misfit(f"{options.decoder}: expected {len(widths) + 1} transposed convolutions ({expected}), "
                     f"found {words(transposed)}")
    channels = widths[0]
    ours = [(f"decoder.conv.{i}", width) for i, width in enumerate(reversed(widths))] + [("decoder.output", pixels)]
    for layer, (name, width_) in zip(transposed, ours):
        checked(layer, (3, 3, width_, channels), "kernel (height, width, out, in)")
        check_bias(layer, width_)
        channels = width_
        named[name] = layer

    halvings = 1 << len(widths)
    flat = (height // halvings) * (width // halvings) * widths[-1]
    conditions = dense.kernel.shape[0] - flat
    if conditions < 0 or inputs - latent != conditions:
        raise Misfit(
            f"{dense.path}/vars/0 has {dense.kernel.shape[0]} inputs, {inner[0].path}/vars/0 has {inputs}: patches of "
            f"{height}×{width} and {latent} latents leave {conditions} and {inputs - latent} for conditions, which must be "
            "the same; does `--patch-size` fit?"
        )
    config = {
        "input": {"height": height, "width": width, "channels": pixels},
        "conv_layers": widths,
        "dense_dim": dense_dim,
        "latent_dim": latent,
        # The original's training step never drops anything, whatever rate it was given.
        "dropout": 0.0,
        "beta": options.beta,
        "n_conditions": conditions,
    }
    return config, named


def patch_size(dense: Layer, outputs: int, widths: list[int], options: argparse.Namespace) -> tuple[int, int]:
    halvings, first = 1 << len(widths), widths[0]
    if options.patch_size:
        height, width = options.patch_size
        if height % halvings or width % halvings:
            raise Misfit(f"patches of {height}×{width} cannot be halved {len(widths)} times")
        if (height // halvings) * (width // halvings) * first != outputs:
            raise Misfit(f"{dense.path}/vars/0: {outputs} outputs do not fit patches of {height}×{width}")
        return height, width
    side = math.isqrt(outputs // first)
    if side * side * first != outputs:
        raise Misfit(f"{dense.path}/vars/0: {outputs} outputs belong to no square patch; give `--patch-size`")
    return side * halvings, side * halvings


# ---------------------------------------------------------------- writing


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli (RFC 3720, B.4), eight bytes at a time."""
    tables = [[], [], [], [], [], [], [], []]
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        tables[0].append(value)
    for table, before in zip(tables[1:], tables):
        table.extend(value >> 8 ^ tables[0][value & 255] for value in before)
    t0, t1, t2, t3, t4, t5, t6, t7 = tables
    crc, end = 0xFFFFFFFF, len(data) - len(data) % 8
    for word in memoryview(data[:end]).cast("Q") if sys.byteorder == "little" else ():
        word ^= crc
        crc = (
            t7[word & 255] ^ t6[word >> 8 & 255] ^ t5[word >> 16 & 255] ^ t4[word >> 24 & 255]
            ^ t3[word >> 32 & 255] ^ t2[word >> 40 & 255] ^ t1[word >> 48 & 255] ^ t0[word >> 56]
        )
    for byte in data[end:] if sys.byteorder == "little" else data:
        crc = crc >> 8 ^ t0[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def weights_file(config: dict, named: dict[str, Layer], sections: dict[str, str]) -> bytes:
    """The bytes of the file: the length of the header, the header, the tensors sorted by name."""
    tensors = {}
    for name, layer in named.items():
        tensors[f"{name}.kernel"], tensors[f"{name}.bias"] = layer.kernel, layer.bias
    entries, payload = {}, b""
    for name in sorted(tensors):
        values = numpy.ascontiguousarray(tensors[name], dtype="<f4").tobytes()
        offsets = [len(payload), len(payload) + len(values)]
        entries[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": offsets}
        payload += values
    metadata = {
        "phenocoder.checksum": f"{crc32c(payload):08x}",
        "phenocoder.config": compact(config),
        "phenocoder.crate": WRITTEN_BY,
        "phenocoder.format": FORMAT,
        "phenocoder.kind": "cvae",
        **sections,
    }
    header = compact({"__metadata__": dict(sorted(metadata.items())), **entries})
    metadata["phenocoder.sha256"] = hashlib.sha256(header.encode() + payload).hexdigest()
    header = compact({"__metadata__": dict(sorted(metadata.items())), **entries}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + payload


def read_sections(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    except (ValueError, KeyError) as error:
        raise Misfit(f"{path}: no weights file of phenocoder ({error})") from error
    return {key: value for key, value in metadata.items() if key.startswith("section.")}


def write(path: Path, data: bytes) -> None:
    """Beside its target, then in its place: a crash leaves the old file or the new one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("weights", type=Path, help="`.weights.h5` or `.keras` file")
    parser.add_argument("output", type=Path, help="the file to write")
    parser.add_argument("--patch-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="when not square")
    parser.add_argument("--beta", type=float, default=0.01, help="weight of the Kullback-Leibler part (default 0.01)")
    parser.add_argument("--encoder", default="encoder", help="where the encoder lies in the file")
    parser.add_argument("--decoder", default="decoder", help="where the decoder lies in the file")
    parser.add_argument("--sections-from", type=Path, metavar="FILE", help="a file of phenocoder to copy sections from")
    options = parser.parse_args()
    if not options.weights.is_file():
        parser.error(f"{options.weights} does not exist")
    try:
        with open_weights(options.weights) as file:
            config, named = network(file, options)
        for ours, layer in named.items():
            for array, values in (("kernel", layer.kernel), ("bias", layer.bias)):
                if not numpy.isfinite(values).all():
                    raise Misfit(f"{layer.path}: the {array} has values that are not finite")
                index = 0 if array == "kernel" else 1
                print(f"{layer.path}/vars/{index} (`{layer.name}`) -> {ours}.{array} {values.shape}")
        sections = read_sections(options.sections_from) if options.sections_from else {}
        write(options.output, weights_file(config, named, sections))
    except (Misfit, OSError, KeyError) as error:
        print(f"{options.weights}: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {compact(config)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
