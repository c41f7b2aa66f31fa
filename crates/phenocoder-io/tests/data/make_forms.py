"""Images and masks in every form that Zarr gives to chunks, made by zarr-python: forms_v2.zip and forms_v3.zip.

    pip install zarr==3.4.2 numpy
    python make_forms.py [FOLDER]

The value at place `i` in C order is `(37 * i + 11) % 251`, in masks plus 2**60 where 64 bits hold it; what is not
stored is the fill value 1.5. With a folder, the stores are made there and not packed.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import numcodecs
import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

IMAGE, MASK = (2, 7, 9), (7, 9)
CHUNK = (1, 4, 5)


def values(shape, dtype):
    v = (np.arange(np.prod(shape)).reshape(shape) * 37 + 11) % 251
    return v.astype(dtype) + (np.array(2**60, dtype) if np.dtype(dtype).itemsize == 8 and len(shape) == 2 else 0)


def attributes(name, axes, version):
    kinds = [{"name": a, "type": "channel"} if a == "c" else {"name": a, "type": "space", "unit": "unit"} for a in axes]
    spatial = {"name": axes, "axes": kinds}
    scale = [{"type": "scale", "scale": [1.0] * len(axes)}]
    identity = {"type": "identity", "input": spatial, "output": {"name": "global", "axes": kinds}}
    multiscale = {
        "name": name,
        "axes": kinds,
        "datasets": [{"path": "s0" if version == 3 else "0", "coordinateTransformations": scale}],
        "coordinateTransformations": [identity],
    }
    ome = {"multiscales": [multiscale]}
    if "c" in axes:
        ome["omero"] = {"channels": [{"label": 0}, {"label": 1}]}
    else:
        ome["image-label"] = {}
    own = {"spatialdata_attrs": {"version": "0.3" if version == 3 else "0.2"}}
    if version == 3:
        return {"ome": {**ome, "version": "0.5-dev-spatialdata"}, **own}
    multiscale["version"] = "0.4-dev-spatialdata"
    if "image-label" in ome:
        ome["image-label"] = {"version": "0.4-dev-spatialdata"}
    return {**ome, **own}


def forms(version):
    """Kind, name, type and how the array is created."""
    if version == 2:
        for dtype in ["|u1", ">u2", "<i4", ">f4", ">f8", ">f2", "<u4"]:
            for order in "CF":
                options = {"order": order, "compressors": None if dtype == ">f4" else numcodecs.Zlib(level=1)}
                name = f"{'big' if dtype[0] == '>' else 'little'}_{dtype[1:]}_{order}".lower()
                yield "images", name, dtype, {"chunks": CHUNK, **options}
        yield "labels", "big_u8_f", ">u8", {"chunks": (3, 4), "order": "F"}
        yield "labels", "dots", "<i2", {"chunks": (3, 4), "chunk_key_encoding": {"name": "v2", "separator": "."}}
        return
    big, little = BytesCodec(endian="big"), BytesCodec(endian="little")
    for name, order in {"f": (2, 1, 0), "yxc": (1, 2, 0), "cxy": (0, 2, 1)}.items():
        yield "images", f"order_{name}", "uint16", {"chunks": CHUNK, "filters": [TransposeCodec(order=order)]}
    twice = [TransposeCodec(order=(1, 2, 0)), TransposeCodec(order=(2, 0, 1))]
    yield "images", "order_twice", "int32", {"chunks": CHUNK, "filters": twice, "serializer": big}
    for dtype in ["int16", "uint32", "float16", "float32", "float64"]:
        yield "images", f"big_{dtype}", dtype, {"chunks": CHUNK, "serializer": big, "compressors": GzipCodec(level=1)}

    def shards(codecs, inner, outer=(2, 4, 6), **options):
        sharding = ShardingCodec(chunk_shape=inner, codecs=codecs, **options)
        return {"chunks": outer, "serializer": sharding, "compressors": None}

    innermost = ShardingCodec(chunk_shape=(1, 2, 2), codecs=[big, ZstdCodec(), Crc32cCodec()], index_location="start")
    yield "images", "shards_in_shards", "uint16", shards([innermost], (1, 4, 2))
    third = ShardingCodec(chunk_shape=(1, 1, 2), codecs=[little])
    innermost = ShardingCodec(chunk_shape=(1, 2, 2), codecs=[third], index_codecs=[big, Crc32cCodec()])
    yield "images", "shards_three_deep", "float32", shards([innermost, Crc32cCodec()], (1, 4, 2))
    yield "images", "shards_order_f", "int32", shards([TransposeCodec(order=(2, 1, 0)), big], (1, 2, 3))
    yield "images", "shards_packed_index", "uint8", shards([little, GzipCodec()], (1, 2, 3), index_codecs=[big])
    for dtype, fill in {"float16": "0x3e00", "float32": "0x3fc00000", "float64": "0x3ff8000000000000"}.items():
        yield "images", f"hex_fill_{dtype}", dtype, {"chunks": CHUNK, "hex": fill}
    yield "labels", "big_uint64_f", "uint64", {
        "chunks": (3, 4), "serializer": big, "filters": [TransposeCodec(order=(1, 0))],
    }
    yield "labels", "dots", "int16", {"chunks": (3, 4), "chunk_key_encoding": {"name": "default", "separator": "."}}
    yield "labels", "old_keys", "uint16", {"chunks": (3, 4), "chunk_key_encoding": {"name": "v2", "separator": "/"}}


def make(path, version):
    """Makes a store; what zarr-python reads from each array of it."""
    root = zarr.create_group(path, zarr_format=version)
    container = {"version": "0.2" if version == 3 else "0.1", "spatialdata_software_version": "0.8.0"}
    root.attrs["spatialdata_attrs"] = container
    found = {}
    for kind, name, dtype, options in forms(version):
        shape, axes = (IMAGE, "cyx") if kind == "images" else (MASK, "yx")
        group = root.require_group(kind).create_group(name)
        group.attrs.update(attributes(name, axes, version))
        level = "s0" if version == 3 else "0"
        fill = options.pop("hex", None)
        if version == 2:
            options.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
        else:
            options["dimension_names"] = list(axes)
        array = group.create_array(level, shape=shape, dtype=dtype, fill_value=1.5 if fill else 0, **options)
        if fill is None:
            array[...] = values(shape, array.dtype)
        else:
            # The first channel is stored, the second is not; the fill value is told by its bits.
            array[0] = values(shape, array.dtype)[0]
            file = pathlib.Path(path) / kind / name / level / "zarr.json"
            metadata = json.loads(file.read_text())
            metadata["fill_value"] = fill
            file.write_text(json.dumps(metadata))
            array = zarr.open_array(path, path=f"{kind}/{name}/{level}", mode="r")
        read = array[...]
        expected = values(shape, read.dtype)
        if fill is not None:
            expected[1] = 1.5
        assert np.array_equal(read, expected), name
        found[kind, name] = read
    if version == 3:
        for kind in ["labels"]:
            names = sorted(name for k, name in found if k == kind)
            root[kind].attrs["ome"] = {"labels": names}
    else:
        root["labels"].attrs["labels"] = sorted(name for k, name in found if k == "labels")
    return found


def main():
    if len(sys.argv) > 1:
        for version in (2, 3):
            make(str(pathlib.Path(sys.argv[1]) / f"forms_v{version}.zarr"), version)
        return
    here = pathlib.Path(__file__).parent
    for version in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "forms.zarr"
            make(str(path), version)
            shutil.make_archive(str(here / f"forms_v{version}"), "zip", path)


if __name__ == "__main__":
    main()
