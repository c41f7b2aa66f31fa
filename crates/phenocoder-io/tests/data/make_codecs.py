"""Makes codecs.bin: bytes encoded by numcodecs in every way that phenocoder-io decodes.

    pip install numcodecs==0.17.1 numpy
    python make_codecs.py

A record is the length of a line of JSON (u32, little endian), that line, the length of the encoded bytes and the bytes.
The line names the codecs in the order of encoding, as `.zarray` does, and the content, which `content` here and in
src/array/codec/tests.rs make alike.
"""

import json
import pathlib
import struct

import numcodecs
import numpy as np
from numcodecs import blosc


def noise(seed, n):
    """The upper bytes of a linear congruential generator."""
    out = bytearray()
    for _ in range(n):
        seed = (seed * 1664525 + 1013904223) % 2**32
        out.append(seed >> 24)
    return bytes(out)


def content(kind, n):
    if kind == "zeros":
        return bytes(n)
    if kind == "noise":
        return noise(1, n)
    if kind == "far":
        block = b"".join(bytes([byte]) * 36 for byte in noise(2, 250)) + b"!"
        return (block * (n // len(block) + 1))[:n]
    assert kind == "smooth"
    low = noise(3, n // 2 + 1)
    values = [1000 + j * 7 % 900 + (low[j] >> 7) for j in range(n // 2 + 1)]
    return np.array(values, "<u2").tobytes()[:n]


records = []


def add(codecs, kind, data, encoded):
    line = json.dumps({"codecs": codecs, "kind": kind, "len": len(data)}).encode()
    encoded = bytes(encoded)
    records.append(struct.pack("<I", len(line)) + line + struct.pack("<I", len(encoded)) + encoded)


def add_blosc(cname, shuffle, typesize, kind, n, blocksize=0, clevel=5):
    data = content(kind, n)
    encoded = blosc.compress(data, cname.encode(), clevel, shuffle, blocksize, typesize)
    add([{"id": "blosc"}], kind, data, encoded)


blosc.set_nthreads(1)
sizes = [1, 7, 16, 127, 128, 129, 512, 515, 643]
turn = 0
for cname in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]:
    for shuffle in [blosc.NOSHUFFLE, blosc.SHUFFLE, blosc.BITSHUFFLE]:
        for typesize in [1, 2, 3, 4, 8, 12, 16, 17]:
            # Every length with every codec, not with every element.
            add_blosc(cname, shuffle, typesize, "smooth", sizes[turn % len(sizes)])
            turn += 1
        # Several blocks, the last of them short, with lengths that elements divide or not.
        for typesize in [2, 8]:
            add_blosc(cname, shuffle, typesize, "smooth", 1100 + typesize // 4, 512)
            add_blosc(cname, shuffle, typesize, "zeros", 100_001, 65_536)
    add_blosc(cname, blosc.SHUFFLE, 4, "noise", 300)
    for clevel in [0, 1, 9]:
        add_blosc(cname, blosc.SHUFFLE, 4, "smooth", 600, 0, clevel)
# Distances of more than 13 bits.
add_blosc("blosclz", blosc.NOSHUFFLE, 1, "far", 30_000, 30_000, 9)

for filters in [
    [numcodecs.Zstd(1)],
    [numcodecs.Zstd(3, checksum=True)],
    [numcodecs.GZip(6)],
    [numcodecs.Zlib(9)],
    [numcodecs.LZ4()],
    [numcodecs.Shuffle(2), numcodecs.Zlib(1)],
    [numcodecs.Shuffle(8), numcodecs.LZ4()],
    [numcodecs.CRC32()],
    [numcodecs.CRC32(location="end"), numcodecs.Zstd(1)],
    [numcodecs.Adler32(), numcodecs.GZip(1)],
    [numcodecs.Zstd(1), numcodecs.Zlib(1)],
    [numcodecs.Blosc("lz4"), numcodecs.CRC32()],
]:
    # Checksums alone do not shorten zeros.
    long = 70_000 if len(filters) > 1 or "level" in filters[0].get_config() else 72
    for kind, n in [("smooth", 304), ("zeros", long), ("noise", 16)]:
        data = content(kind, n)
        encoded = np.frombuffer(data, "u1")
        for codec in filters:
            encoded = np.frombuffer(bytes(codec.encode(encoded)), "u1")
        add([codec.get_config() for codec in filters], kind, data, encoded.tobytes())

path = pathlib.Path(__file__).with_name("codecs.bin")
path.write_bytes(b"".join(records))
print(len(records), "records,", path.stat().st_size, "bytes")
