#!/usr/bin/env python3
"""Asks TensorBoard's own reader whether it understands the training record that phenocoder wrote.

    python check_events.py FOLDER [--scalar NAME]... [--image NAME]... [--histogram NAME]... [--hparam NAME]...
                           [--resumed]

FOLDER holds event files, at any depth.  Every scalar must be finite and have rising steps, every image must decode
to pixels, every histogram must hold what its buckets say, every session of hyper-parameters must have ended.
`--scalar` and `--image` name tags that must be there; without them at least one of each kind must.  `--histogram` and
`--hparam` name histograms and settings that must be there.  `--resumed` says that the files of a folder are parts of
one run that was interrupted: read together, their scalars must have rising steps without a gap.
Exit code: 0 accepted, 1 rejected, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData


def framed_records(path: Path) -> int:
    """The number of records by the frames alone: length, its checksum, data, its checksum.

    TensorBoard stops without a word at the first record that is cut off or damaged; then this number is larger.
    """
    data, offset, records = path.read_bytes(), 0, 0
    while offset < len(data):
        if offset + 8 <= len(data):
            offset += 16 + int.from_bytes(data[offset : offset + 8], "little")
        else:
            offset = len(data) + 1
        records += 1
    if offset != len(data):
        raise ValueError(f"the last of {records} records is cut off")
    return records


def check_histograms(accumulator: EventAccumulator, name: str, failures: list[str]) -> dict:
    """The histograms (tag to numbers of values)."""
    histograms = {}
    for tag in accumulator.Tags()["histograms"]:
        histograms[tag] = []
        for event in accumulator.Histograms(tag):
            value = event.histogram_value
            histograms[tag].append(int(value.num))
            limits = list(value.bucket_limit)
            if sum(value.bucket) != value.num or len(limits) != len(value.bucket):
                failures.append(f"{name}: histogram `{tag}`: {sum(value.bucket)} of {value.num} values in buckets")
            if limits != sorted(set(limits)) or not value.min <= value.max <= limits[-1]:
                failures.append(f"{name}: histogram `{tag}`: limits {limits[:3]}… do not fit {value.min} to {value.max}")
            if not value.min * value.num - 1e-6 <= value.sum <= value.max * value.num + 1e-6:
                failures.append(f"{name}: histogram `{tag}`: sum {value.sum}")
    return histograms


def check_hparams(accumulator: EventAccumulator, name: str, failures: list[str]) -> dict:
    """The settings of the session, if there is one."""
    sessions = {}
    for tag in accumulator.Tags()["tensors"]:
        plugin = accumulator.SummaryMetadata(tag).plugin_data
        if plugin.plugin_name == "hparams":
            data = HParamsPluginData.FromString(plugin.content)
            sessions[tag] = getattr(data, data.WhichOneof("data"))
    start = sessions.get("_hparams_/session_start_info")
    if start is None:
        return {}
    end = sessions.get("_hparams_/session_end_info")
    if end is None or end.end_time_secs < start.start_time_secs:
        failures.append(f"{name}: the session of hyper-parameters has no end")
    return {key: getattr(value, value.WhichOneof("kind")) for key, value in start.hparams.items()}


def check_file(path: Path, failures: list[str]) -> tuple[dict, dict, dict, dict]:
    """The scalars (tag to values), images (tag to sizes), histograms and settings of one event file."""
    framed = framed_records(path)
    records = sum(1 for _ in RawEventFileLoader(str(path)).Load())
    if framed != records:
        failures.append(f"{path.name}: TensorBoard reads {records} of {framed} records")
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars, images = {}, {}
    for tag in tags["scalars"]:
        events = accumulator.Scalars(tag)
        steps = [event.step for event in events]
        scalars[tag] = [event.value for event in events]
        if any(a >= b for a, b in zip(steps, steps[1:])):
            failures.append(f"{path.name}: scalar `{tag}`: steps do not rise: {steps[:5]}…")
        if not all(math.isfinite(value) for value in scalars[tag]):
            failures.append(f"{path.name}: scalar `{tag}` has a value that is not finite")
        if any(event.wall_time <= 0 for event in events):
            failures.append(f"{path.name}: scalar `{tag}` has no time")
    for tag in tags["images"]:
        images[tag] = []
        for event in accumulator.Images(tag):
            with Image.open(io.BytesIO(event.encoded_image_string)) as picture:
                picture.load()
                images[tag].append(picture.size)
                if picture.size != (event.width, event.height):
                    failures.append(f"{path.name}: image `{tag}`: {picture.size}, the record says "
                                    f"{(event.width, event.height)}")
    histograms = check_histograms(accumulator, path.name, failures)
    settings = check_hparams(accumulator, path.name, failures)
    # The configuration of the network is a text, which TensorBoard keeps as a tensor of strings.
    other = [tag for tag in tags["tensors"]
             if accumulator.SummaryMetadata(tag).plugin_data.plugin_name not in ("text", "hparams")]
    if other:
        failures.append(f"{path.name}: {other} were read as tensors, not as scalars, images, histograms, settings or text")
    # One record names the version of the format; more of them follow only when something was logged.
    if records < 2:
        failures.append(f"{path.name}: {records} records")
    print(f"{path}: {records} records")
    for tag, values in scalars.items():
        print(f"  scalar {tag}: {len(values)} values, {values[0]:.6g} to {values[-1]:.6g}")
    for tag, sizes in images.items():
        print(f"  image {tag}: {len(sizes)} of {sizes[0][0]} × {sizes[0][1]} pixels")
    for tag, numbers in histograms.items():
        print(f"  histogram {tag}: {len(numbers)} of {numbers[0]} values")
    if settings:
        print(f"  {len(settings)} settings: {', '.join(sorted(settings)[:6])}…")
    return scalars, images, histograms, settings


def check_run(folder: Path, failures: list[str]) -> None:
    """The curves of a run in parts: TensorBoard drops what a later part did again."""
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        steps = [event.step for event in accumulator.Scalars(tag)]
        if steps != list(range(steps[0], steps[0] + len(steps))):
            failures.append(f"{folder.name}: scalar `{tag}` of all parts: steps {steps}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scalar", action="append", default=[], help="a tag that must be there; may be repeated")
    parser.add_argument("--image", action="append", default=[], help="a tag that must be there; may be repeated")
    parser.add_argument("--histogram", action="append", default=[], help="a tag that must be there; may be repeated")
    parser.add_argument("--hparam", action="append", default=[], help="a setting that must be there; may be repeated")
    parser.add_argument("--resumed", action="store_true", help="the files of a folder are parts of one run")
    options = parser.parse_args()
    if not options.folder.exists():
        parser.error(f"{options.folder} does not exist")
    paths = [options.folder] if options.folder.is_file() else sorted(options.folder.rglob("*tfevents*"))
    failures: list[str] = []
    scalars, images, histograms, settings = set(), set(), set(), set()
    for path in paths:
        try:
            found = check_file(path, failures)
        except Exception as error:  # a reader that gives up is a finding
            failures.append(f"{path.name}: {type(error).__name__}: {error}")
            continue
        scalars |= set(found[0])
        images |= set(found[1])
        histograms |= set(found[2])
        settings |= set(found[3])
    if options.resumed:
        for folder in sorted({path.parent for path in paths}):
            check_run(folder, failures)
    if not paths:
        failures.append(f"{options.folder}: no event file (`*tfevents*`)")
    for kind, wanted, present in (("scalar", options.scalar, scalars), ("image", options.image, images),
                                  ("histogram", options.histogram, histograms), ("setting", options.hparam, settings)):
        if wanted:
            failures += [f"no {kind} `{tag}`, only {sorted(present)}" for tag in wanted if tag not in present]
        elif not present and kind in ("scalar", "image"):
            failures.append(f"no {kind} at all")
    for failure in failures:
        print(f"FAILED  {failure}")
    print(f"{'REJECTED' if failures else 'accepted'}: {len(paths)} files, {len(scalars)} scalars, {len(images)} images, "
          f"{len(histograms)} histograms, {len(settings)} settings")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
