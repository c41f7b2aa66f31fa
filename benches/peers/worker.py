"""What the peers have in common: the network's weights and batch, and the conversation with `cargo xtask bench-peers`.

A worker reads one command per line and answers each with one line of JSON:

    check N    the losses without noise before and after each of N training steps without noise; then starts anew
    train N    N training steps
    encode N   N encodings of the batch

It prints one line before, which names the library, its version and the setting.
"""

import json
import os
import sys

import numpy

LEARNING_RATE = 1e-3
# The constant of Keras; PyTorch's own default is 1e-8, which makes no difference in speed.
ADAM_EPSILON = 1e-7
BETA = 0.01


class Arrays:
    """The file that our own program writes: `weights/NAME` and `pixels`, shapes as our network has them.

    Kernels are height, width, in, out; those of transposed convolutions height, width, out, in; pixels n, y, x, c.
    """

    def __init__(self, path):
        with numpy.load(path) as file:
            self.pixels = file["pixels"]
            prefix = "weights/"
            self.weights = {name[len(prefix) :]: file[name] for name in file.files if name.startswith(prefix)}

    def layers(self, group):
        """Kernel and bias of `GROUP.0`, `GROUP.1`, …"""
        found = []
        while f"{group}.{len(found)}.kernel" in self.weights:
            found.append(self.layer(f"{group}.{len(found)}"))
        return found

    def layer(self, name):
        return self.weights[f"{name}.kernel"], self.weights[f"{name}.bias"]


def threads():
    """How many threads this process may compute on."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def serve(name, version, contender):
    """Answers commands until the input ends.

    The contender has `train(noise)` and `encode()`, both of which return when the work is done, `loss()` without
    noise, and `restart()`.
    """
    answer({"library": name, "version": version})
    for line in sys.stdin:
        command, count = line.split()
        count = int(count)
        if command == "check":
            losses = [contender.loss()]
            for _ in range(count):
                contender.train(noise=False)
                losses.append(contender.loss())
            contender.restart()
            answer({"losses": losses})
        elif command == "train":
            for _ in range(count):
                contender.train(noise=True)
            answer({"done": count})
        elif command == "encode":
            for _ in range(count):
                contender.encode()
            answer({"done": count})
        else:
            raise ValueError(f"unknown command {command!r}")


def answer(value):
    print(json.dumps(value), flush=True)
