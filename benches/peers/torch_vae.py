"""The network in PyTorch, eager: `torch_vae.py ARRAYS.npz [nchw | channels_last]`.

PyTorch pads a strided convolution by one pixel on both sides, Keras and our network by one behind.  Seen in a mirror, along
both axes, the two are the same: here images and kernels are mirrored once, at the start, so that PyTorch runs on its own
padding without an extra copy and still computes the same losses.
"""

import sys

import numpy
import torch
import torch.nn.functional as F
from torch import nn

import worker


def conv_kernel(kernel):
    """Height, width, in, out to mirrored out, in, height, width; for transposed convolutions in, out, height, width."""
    return numpy.ascontiguousarray(kernel[::-1, ::-1].transpose(3, 2, 0, 1))


class Network(nn.Module):
    def __init__(self, arrays):
        super().__init__()
        channels = arrays.pixels.shape[3]
        encoder = []
        for kernel, _ in arrays.layers("encoder.conv"):
            encoder += [nn.Conv2d(kernel.shape[2], kernel.shape[3], 3, stride=2, padding=1), nn.ReLU()]
        decoder = []
        for kernel, _ in arrays.layers("decoder.conv"):
            layer = nn.ConvTranspose2d(kernel.shape[3], kernel.shape[2], 3, stride=2, padding=1, output_padding=1)
            decoder += [layer, nn.ReLU()]
        decoder.append(nn.ConvTranspose2d(decoder[-2].out_channels, channels, 3, padding=1))
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)
        self.encoder_dense = dense(arrays, "encoder.dense")
        self.mean = dense(arrays, "encoder.z_mean")
        self.log_var = dense(arrays, "encoder.z_log_var")
        self.decoder_dense = dense(arrays, "decoder.dense")
        side = arrays.pixels.shape[1] >> len(arrays.layers("encoder.conv"))
        self.inner = (decoder[0].in_channels, side, side)

    @torch.no_grad()
    def set(self, arrays):
        for layers, group in ((self.encoder, "encoder.conv"), (self.decoder, "decoder.conv")):
            ours = [(conv_kernel(kernel), bias) for kernel, bias in arrays.layers(group)]
            if group == "decoder.conv":
                kernel, bias = arrays.layer("decoder.output")
                ours.append((conv_kernel(kernel), bias))
            for layer, (kernel, bias) in zip([layer for layer in layers if hasattr(layer, "weight")], ours, strict=True):
                copy(layer, kernel, bias)
        # Our images are flattened as y, x, c, PyTorch's as c, y, x; both are mirrored.
        channels, height, width = self.encoder[-2].out_channels, *self.inner[1:]
        kernel, bias = arrays.layer("encoder.dense")
        kernel = kernel.reshape(height, width, channels, -1)[::-1, ::-1].transpose(3, 2, 0, 1)
        copy(self.encoder_dense, kernel.reshape(len(bias), -1), bias)
        for layer, name in ((self.mean, "encoder.z_mean"), (self.log_var, "encoder.z_log_var")):
            kernel, bias = arrays.layer(name)
            copy(layer, kernel.T, bias)
        channels = self.inner[0]
        kernel, bias = arrays.layer("decoder.dense")
        kernel = kernel.T.reshape(height, width, channels, -1)[::-1, ::-1].transpose(2, 0, 1, 3)
        bias = bias.reshape(height, width, channels)[::-1, ::-1].transpose(2, 0, 1)
        copy(self.decoder_dense, kernel.reshape(bias.size, -1), bias.reshape(-1))

    def encode(self, pixels):
        hidden = F.relu(self.encoder_dense(self.encoder(pixels).flatten(1)))
        return self.mean(hidden), self.log_var(hidden)

    def loss(self, pixels, noise, memory_format):
        mean, log_var = self.encode(pixels)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean) if noise else mean
        inner = F.relu(self.decoder_dense(z)).reshape(-1, *self.inner).contiguous(memory_format=memory_format)
        logits = self.decoder(inner)
        reconstruction = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        kl = -0.5 * (1 + log_var - mean * mean - log_var.exp()).sum()
        return (reconstruction + worker.BETA * kl) / len(pixels)


def dense(arrays, name):
    return nn.Linear(*arrays.weights[f"{name}.kernel"].shape)


def copy(layer, kernel, bias):
    for parameter, values in ((layer.weight, kernel), (layer.bias, bias)):
        if parameter.shape != values.shape:
            raise ValueError(f"{layer}: expected {tuple(parameter.shape)}, found {values.shape}")
        parameter.copy_(torch.from_numpy(numpy.ascontiguousarray(values)))


class Contender:
    def __init__(self, arrays, memory_format):
        self.arrays = arrays
        self.memory_format = memory_format
        pixels = numpy.ascontiguousarray(arrays.pixels[:, ::-1, ::-1].transpose(0, 3, 1, 2))
        self.pixels = torch.from_numpy(pixels).contiguous(memory_format=memory_format)
        self.restart()

    def restart(self):
        self.network = Network(self.arrays)
        self.network.set(self.arrays)
        self.network = self.network.to(memory_format=self.memory_format)
        # `fused` is the fastest of PyTorch's three forms of Adam.
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), worker.LEARNING_RATE, eps=worker.ADAM_EPSILON, fused=True
        )

    def train(self, noise):
        self.optimizer.zero_grad()
        self.network.loss(self.pixels, noise, self.memory_format).backward()
        self.optimizer.step()

    def encode(self):
        with torch.inference_mode():
            return self.network.encode(self.pixels)

    def loss(self):
        with torch.inference_mode():
            return self.network.loss(self.pixels, False, self.memory_format).item()


def main():
    layout = sys.argv[2] if len(sys.argv) > 2 else "nchw"
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    torch.set_num_threads(worker.threads())
    torch.set_num_interop_threads(1)
    contender = Contender(worker.Arrays(sys.argv[1]), formats[layout])
    worker.serve(f"PyTorch {layout}", torch.__version__, contender)


if __name__ == "__main__":
    main()
