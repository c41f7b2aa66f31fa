#!/usr/bin/env python3
"""Opens the page of a run in Chromium and uses it as a reader would, by mouse, by keyboard, and on a telephone.

    python check_report.py PAGE... [--without-map] [--screenshots FOLDER [--name NAME]] [--chromium FILE] [--driver FILE]

On every page, at 1280 × 900 and at 390 × 844 pixels: the browser reports no error, nothing is loaded but the file itself,
nothing is wider than the window, text, in figures too, is large enough and stands out from what lies behind it, what can be
pressed is large enough, has a name and, where it has one, a border that is seen.

From the top of the page the Tab key alone comes to everything that can be pressed, and shows where it is; it comes to the
map, whose keys do what they say, and leaves it again.  Legend, choices, channels, galleries and sorted tables do what they
say, and how many of the cells are shown is right, also on a copy of the page whose table has twice as many cells.  The cell
under the pointer (at 390: under the finger), and the one that the arrow keys go to, is shown with its own name, its own
numbers and its own tile of the picture that the page holds, pixel by pixel.  A page without a map is rejected, unless
`--without-map` says that the run made none.

Labels whose marks on the map share a shape, or whose pieces of bars share a pattern, can be told apart by their colours,
as seen normally and with deuteranopia and protanopia (Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113);
where there are more labels than marks, the page says so.

`--screenshots` keeps a picture of each whole page at both widths.  With `--name`, for one page, these are the pictures of the
README: NAME_1280.png and NAME_390.png, the upper 1720 pixels of the page in 256 colours, of at most 150 kB.
Exit code: 0 accepted, 1 rejected, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import math
import random
import re
import shutil
import struct
import sys
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

SIZES = ((1280, 900), (390, 844))
# Pictures of the README: so much of the page, in files of at most so many bytes.
PICTURE_HEIGHT, PICTURE_BYTES = 1720, 150_000
# Headless, without sandbox (there is none for root), and without the browser's own errands.
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --hide-scrollbars""".split()

READY = """
const done = arguments[arguments.length - 1];
const report = window.phenocoderReport;
(report ? report.ready : Promise.resolve()).then(() => requestAnimationFrame(() => requestAnimationFrame(() => done(!!report && report.map))));
"""

# What is wrong with texts and with what can be pressed, in words.
LOOK = r"""
const narrow = innerWidth < 600, wrong = [];
const visible = (e) => e.checkVisibility({ checkVisibilityCSS: true }) && e.getClientRects().length > 0;
const channels = (text) => text.match(/[\d.]+/g).map(Number);
const light = (rgb) => {
  const [r, g, b] = rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const color = channels(getComputedStyle(e).backgroundColor);
    if (color.length === 3 || color[3] > 0.9) return color;
  }
  return [255, 255, 255];
};
// Of a text in a figure, the last shape drawn before it that covers its middle.
const painted = (svg, e) => {
  const box = e.getBoundingClientRect(), middle = new DOMPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
  let color = behind(svg);
  for (const shape of svg.querySelectorAll("rect, circle, polygon, path")) {
    if (!(shape.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
    const style = getComputedStyle(shape), fill = style.fill === "none" ? [0, 0, 0, 0] : channels(style.fill);
    if (Math.min(fill[3] ?? 1, Number(style.fillOpacity), Number(style.opacity)) < 0.9) continue;
    if (shape.isPointInFill(middle.matrixTransform(shape.getScreenCTM().inverse()))) color = fill;
  }
  // What is written over a halo of its own lies on that.
  const style = getComputedStyle(e), halo = style.paintOrder.startsWith("stroke") && style.stroke !== "none" ? channels(style.stroke) : null;
  if (!halo || !(parseFloat(style.strokeWidth) > 0)) return color;
  const opacity = (halo[3] ?? 1) * Number(style.strokeOpacity);
  return [0, 1, 2].map((k) => opacity * halo[k] + (1 - opacity) * color[k]);
};
const between = (one, other) => {
  const [a, b] = [light(one), light(other)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const seen = new Set();
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || seen.has(e) || !visible(e) || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName) || e.closest(".skip")) continue;
  seen.add(e);
  const style = getComputedStyle(e), svg = e.closest("svg");
  const size = parseFloat(style.fontSize) * (svg ? Math.abs(svg.getScreenCTM().a) : 1);
  if (size < (svg ? 10 : 12.5)) wrong.push(`text of ${size.toFixed(1)} px: ${text.slice(0, 40)}`);
  if (e.tagName === "OPTION" || e.tagName === "OPTGROUP") continue;
  const ink = svg ? style.fill : style.color, ground = svg ? painted(svg, e) : behind(e);
  const contrast = between(channels(ink), ground);
  if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)}: ${text.slice(0, 40)} (${ink} on ${ground})`);
}
for (const e of document.querySelectorAll("button, select, summary, nav a, input")) {
  if (!visible(e)) continue;
  const box = e.getBoundingClientRect(), least = narrow ? 40 : 24;
  if (box.width < least || box.height < least) wrong.push(`${e.tagName} of ${box.width.toFixed(0)} × ${box.height.toFixed(0)} px: ${e.textContent.slice(0, 30)}`);
  const name = e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels[0]);
  if (!name) wrong.push(`a ${e.tagName} without a name`);
  const style = getComputedStyle(e), after = getComputedStyle(e, "::after"), line = channels(style.borderTopColor);
  const hasBorder = parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== "none" && (line[3] ?? 1) > 0;
  if (hasBorder && between(line, behind(e.parentElement)) < 3) wrong.push(`the border of ${e.tagName} ${String(name).slice(0, 30)} is too light`);
  const sign = after.content !== "none" && between(channels(after.color), behind(e));
  if (sign && sign < 3) wrong.push(`the sign beside ${name} is too light`);
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
if (new Set(ids).size !== ids.length) wrong.push("an id stands twice");
if (document.documentElement.scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll, nav, pre"));
  wrong.push(`${document.documentElement.scrollWidth} px wide: ${wide.slice(0, 3).map((e) => e.tagName + "." + e.className)}`);
}
for (const canvas of document.querySelectorAll("canvas[data-tile]")) {
  if (canvas.width < 2) { wrong.push("a picture was not drawn"); break; }
}
return wrong;
"""

# The tip beside a cell: its words, and the pixels of its picture as rows of red, green, blue and opacity.
TIP = """
const tip = document.getElementById("map-tip"), canvas = tip.querySelector("canvas"), name = tip.querySelector("b");
const pixels = canvas && [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
return { hidden: tip.hidden, name: name && name.textContent, pixels, cell: tip.dataset.cell };
"""

# What has the focus: what it is, the outline around it, and where that can be seen.
FOCUS = """
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
return {
  body: e === document.body, id: e.id, reached: stops.indexOf(e),
  name: `${e.tagName} ${e.id || e.getAttribute("aria-label") || e.textContent.trim()}`.slice(0, 60),
  box: [box.left, box.top, box.right, box.bottom], window: [innerWidth, innerHeight],
  line: style.outlineStyle, width: parseFloat(style.outlineWidth), offset: parseFloat(style.outlineOffset), color: style.outlineColor,
};
"""

# Everything that the Tab key has to come to.
STOPS = """
window.stops = [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")].filter((e) => e.checkVisibility());
return stops.length;
"""

# Labels that a legend or a bar shows, each with its colour and what else tells it from others.
MARKS = """
const plain = (text) => text.replace(/rgba?\\([^)]*\\)/g, "");
const look = (e) => { const s = getComputedStyle(e); return { color: s.backgroundColor, kind: plain(s.backgroundImage), ink: s.color }; };
const legends = [];
for (const list of document.querySelectorAll(".legend")) {
  const pieces = [...list.parentElement.querySelectorAll(".bar span")];
  legends.push({
    marks: [...list.children].map((e) => ({ name: e.textContent, ...look(e.querySelector(".swatch")) })),
    pieces: pieces.map((e) => ({ name: e.title.slice(0, e.title.lastIndexOf(": ")), ...look(e) })),
    text: list.parentElement.innerText,
  });
}
return legends;
"""
MAP_MARKS = """
const legend = document.getElementById("map-legend");
const marks = [...legend.querySelectorAll("button[data-code]")].map((e) => {
  const mark = e.querySelector(".mark");
  return { name: e.querySelector("span").textContent, color: getComputedStyle(mark).backgroundColor, kind: mark.className };
});
return { marks, title: legend.querySelector("h3").textContent, text: legend.innerText };
"""

# The codes of keys that are no letters.
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Page:
    """A page in the browser, and what was found wrong with it."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.path, self.wrong = driver, path, []

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.wrong.append(what)

    def run(self, script: str, *arguments: object) -> object:
        return self.driver.execute_script(script, *arguments)

    def settle(self) -> bool:
        return self.driver.execute_async_script(READY)

    def open(self, width: int, height: int) -> bool:
        """Loads the page in a window of this size; whether it has a map."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(self.path.resolve().as_uri())
        self.run("document.documentElement.style.scrollBehavior = 'auto'")
        return self.settle()

    def judge_log(self) -> None:
        """No error, no broken policy, nothing loaded but this file and what it holds."""
        for entry in self.driver.get_log("browser"):
            self.expect(entry["level"] != "SEVERE", f"the browser says: {entry['message'][:200]}")
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                own = url.startswith("data:") or url == self.path.resolve().as_uri()
                self.expect(own or url.startswith("chrome"), f"loads {url[:100]}")

    def point(self, x: float, y: float, kind: str = "mouseMoved") -> None:
        button = "none" if kind == "mouseMoved" else "left"
        event = {"type": kind, "x": x, "y": y, "button": button, "clickCount": 0 if button == "none" else 1}
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
        self.settle()

    def tap(self, x: float, y: float) -> None:
        for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        self.settle()

    def press(self, key: str, shift: bool = False) -> None:
        event = {"key": key, "code": key if key in KEYS else "", "windowsVirtualKeyCode": KEYS.get(key, 0), "modifiers": 8 * shift}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        for one in (down, {"type": "keyUp"}):
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {**event, **one})
        if key != "Tab":
            self.settle()

    def picture(self, **clip: float) -> Image.Image:
        """A picture of the window, or of this part of the page."""
        options = {"captureBeyondViewport": True, "clip": {**clip, "scale": 1}} if clip else {"optimizeForSpeed": True}
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        return Image.open(io.BytesIO(base64.b64decode(taken["data"]))).convert("RGB")

    def view(self) -> dict:
        return self.run("return phenocoderReport.view()")

    def show_map(self) -> None:
        self.run("document.getElementById('map-stage').scrollIntoView({block: 'center'})")
        self.settle()


class Cells:
    """The cells of a page, read from what the page holds without its programs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        data = page.run("return JSON.parse(document.getElementById('data').textContent)")
        self.tiles, self.map, self.columns = data["tiles"], data["map"], data["columns"]
        self.ids = data["ids"].split("\n")
        self.sprites = self.words(data["sprites"])
        self.numbers = [(i, c["name"], self.floats(c)) for i, c in enumerate(data["columns"]) if c["kind"] == "numbers"]
        samples = data["columns"][data["sample"]]
        codes, missing = self.codes(samples), 65535 if samples["wide"] else 255
        self.samples = ["none" if code == missing else samples["labels"][code] for code in codes]
        # Of every layout, which cells have a place in it, and how many cells of the table are meant.
        self.layouts = {}
        if self.map:
            self.layouts["map"] = self.placed(self.map), data["all"]
        if data["tissue"]:
            placed = self.placed(data["tissue"])
            for code, all_of_sample in enumerate(samples["all"][:-1]):
                self.layouts[str(code)] = [has_place and own == code for has_place, own in zip(placed, codes)], all_of_sample
        sources = page.run("return [...document.querySelectorAll('img.atlas')].map((image) => image.src)")
        self.images = [Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB") for source in sources]

    @staticmethod
    def words(text: str) -> list[int]:
        raw = base64.b64decode(text)
        return [low + 256 * high for low, high in zip(raw[::2], raw[1::2])]

    @classmethod
    def codes(cls, column: dict) -> list[int]:
        return cls.words(column["codes"]) if column["wide"] else list(base64.b64decode(column["codes"]))

    @classmethod
    def placed(cls, points: dict) -> list[bool]:
        return [65535 not in place for place in zip(cls.words(points["x"]), cls.words(points["y"]))]

    @staticmethod
    def floats(column: dict) -> tuple[float, ...]:
        raw, size = base64.b64decode(column["values"]), 8 if column["wide"] else 4
        return struct.unpack(f"<{len(raw) // size}{'d' if size == 8 else 'f'}", raw)

    def name(self, cell: int) -> str:
        return f"cell {self.ids[cell]} of {self.samples[cell]}"

    def picture(self, cell: int) -> list[int]:
        """The pixels of a cell's tile: its channels added up in their colours."""
        width, height = self.tiles["width"], self.tiles["height"]
        row, column = divmod(self.sprites[cell], self.tiles["columns"])
        box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
        planes = [plane for image in self.images for plane in image.crop(box).split()]
        seen = [(plane, channel) for plane, channel in zip(planes, self.tiles["channels"]) if channel["on"]]
        is_grey = len(seen) == 1 and not seen[0][1]["named"]
        shown = [(plane.tobytes(), [255] * 3 if is_grey else channel["color"]) for plane, channel in seen]
        pixels = []
        for p in range(width * height):
            for k in range(3):
                pixels.append(min(255, round(sum(plane[p] / 255 * color[k] for plane, color in shown))))
            pixels.append(255)
        return pixels

    def pointed_at(self, most: int) -> list[dict]:
        """So many cells with a picture that no other cell covers, drawn from all that are shown; the same ones each time."""
        pictured = [i for i, sprite in enumerate(self.sprites) if sprite != 65535]
        random.Random(0).shuffle(pictured)
        found, shown = self.page.run(
            """
            const report = phenocoderReport, shown = arguments[1].filter((i) => report.cell(i).picture && report.cell(i).shown);
            const found = [];
            for (const i of shown) {
              const { x, y } = report.place(i);
              if (found.length < arguments[0] && report.nearest(x, y) === i) found.push({ i, x, y });
            }
            return [found, shown.length];
            """,
            most,
            pictured,
        )
        enough = len(found) >= max(1, min(most, shown))
        self.page.expect(enough, f"{len(found)} of {shown} cells with a picture can be pointed at")
        return found

    def judge_places(self, found: list[dict]) -> None:
        """The cells lie where their numbers say."""
        if not self.map or self.page.view()["layout"] != "map":
            return
        view = self.page.view()
        box = self.page.run("const { left, top } = document.getElementById('map-points').getBoundingClientRect(); return { left, top }")
        x, y = self.words(self.map["x"]), self.words(self.map["y"])
        for cell in found:
            i = cell["i"]
            right, down = x[i] / 65534, (65534 - y[i]) / 65534
            away = (right * view["scale"] + view["x"] + box["left"] - cell["x"], down * view["scale"] + view["y"] + box["top"] - cell["y"])
            self.page.expect(max(map(abs, away)) < 0.5, f"{self.name(i)} lies {away} px from its place")

    def judge_counts(self) -> None:
        """The line above the map says how many of the cells are shown, and the legend of how many with each label."""
        view = self.page.view()
        here, all_cells = self.layouts[view["layout"]]
        shown = sum(here)
        expected = f"Shown: {shown:,} of {all_cells:,} cells" if shown < all_cells else ""
        said = self.page.run("const e = document.getElementById('map-shown'); return e.checkVisibility() ? e.textContent : ''")
        right = said.startswith(expected) and bool(said) == bool(expected)
        self.page.expect(right, f"{view['layout']}: {shown} of {all_cells} cells are shown, the page says {said!r}")
        column = self.columns[view["color"]]
        if column["kind"] != "labels":
            return
        found = Counter(code for code, is_here in zip(self.codes(column), here) if is_here)
        expected = {}
        for code, count in found.items():
            # The count of those without a label is the last one.
            of_table = column["all"][min(code, len(column["labels"]))]
            expected[str(code)] = f"{count:,} of {of_table:,}" if view["layout"] == "map" and count < of_table else f"{count:,}"
        said = self.page.run(
            "return Object.fromEntries([...document.querySelectorAll('#map-legend button[data-code]')]"
            ".map((e) => [e.dataset.code, e.querySelector('small').textContent]))"
        )
        wrong = {code: (said.get(code), expected.get(code)) for code in {*said, *expected} if said.get(code) != expected.get(code)}
        self.page.expect(not wrong, f"{view['layout']} by {column['name']}: the legend counts, and is to count: {list(wrong.items())[:3]}")

    def judge_tip(self, cell: int, how: str) -> None:
        """The tip shows this cell: its name, and its tile where it has one."""
        tip = self.page.run(TIP)
        shown = not tip["hidden"] and tip["cell"] == str(cell)
        self.page.expect(shown, f"{how}: the tip does not show {self.name(cell)}")
        self.page.expect(tip["name"] == self.name(cell), f"{how}: the tip of {self.name(cell)} says {tip['name']!r}")
        if self.sprites[cell] == 65535 or not self.images:
            self.page.expect(tip["pixels"] is None, f"{how}: {self.name(cell)} has no picture, and one is shown")
        else:
            self.page.expect(tip["pixels"] == self.picture(cell), f"{how}: the picture of {self.name(cell)} is not its tile")


def check_pointer(page: Page, cells: Cells) -> None:
    page.show_map()
    found = cells.pointed_at(12)
    cells.judge_places(found)
    for cell in found:
        page.point(cell["x"], cell["y"])
        cells.judge_tip(cell["i"], "pointed at")
    if not found:
        return
    # Else a wrong tile could pass for the right one.
    pictures = {bytes(cells.picture(cell["i"])) for cell in found}
    page.expect(len(pictures) == len(found), f"{len(found)} cells have {len(pictures)} different pictures")
    last = found[-1]
    for kind in ("mousePressed", "mouseReleased"):
        page.point(last["x"], last["y"], kind)
    page.point(2, 2)
    page.expect(page.view()["pinned"] == last["i"], "a click does not keep the cell")
    cells.judge_tip(last["i"], "kept")
    before = page.view()
    page.point(last["x"], last["y"], "mousePressed")
    page.point(last["x"] + 40, last["y"] + 30)
    page.point(last["x"] + 40, last["y"] + 30, "mouseReleased")
    after = page.view()
    page.expect(abs(after["x"] - before["x"] - 40) < 1.5 and abs(after["y"] - before["y"] - 30) < 1.5, "the map cannot be dragged")


def check_numbers(page: Page, cells: Cells) -> None:
    """The tip says the number that a column has for a cell: whole ones below 1e15 exactly, others to seven digits."""
    color = "const s = document.getElementById('map-color'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))"
    page.run("document.getElementById('map-points').focus()")
    page.press("0")
    page.show_map()
    found = cells.pointed_at(3)
    for place, name, values in cells.numbers:
        page.run(color, str(place))
        for cell in found:
            page.point(cell["x"], cell["y"])
            said = page.run("return document.getElementById('map-tip').lastElementChild.textContent")
            value, known = said.removeprefix(f"{name}: "), values[cell["i"]]
            is_whole = known % 1 == 0 and abs(known) < 1e15
            try:
                near = value == "none" if math.isnan(known) else math.isclose(float(value), known, rel_tol=0 if is_whole else 1e-6)
            except ValueError:
                near = False
            page.expect(near, f"{name} of {cells.name(cell['i'])} is {known}, the tip says {said!r}")
    page.run(color, "0")


def check_tap(page: Page, cells: Cells) -> None:
    page.show_map()
    found = cells.pointed_at(4)
    cells.judge_places(found)
    for cell in found:
        page.tap(cell["x"], cell["y"])
        page.expect(page.view()["pinned"] == cell["i"], "a tap does not keep the cell")
        cells.judge_tip(cell["i"], "tapped")


def luminance(color: tuple[float, ...]) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def judge_focus(page: Page, focus: dict) -> None:
    """What has the focus has a ring around it that can be seen in the picture of the window, nothing lying over it."""
    ring = rgb(focus["color"])
    if focus["line"] == "none" or focus["width"] < 2:
        page.expect(False, f"{focus['name']}: no ring shows the focus")
        return
    picture = page.picture()
    out = focus["offset"] + focus["width"] / 2
    (left, top, right, bottom), (across, down) = focus["box"], focus["window"]
    left, top, right, bottom = left - out, top - out, right + out, bottom + out
    x, y = (max(left, 0) + min(right, across)) / 2, (max(top, 0) + min(bottom, down)) / 2
    sides = ((left, y, -1, 0), (right, y, 1, 0), (x, top, 0, -1), (x, bottom, 0, 1))
    seen = 0
    for at_x, at_y, to_x, to_y in sides:
        if not (0 <= at_x < across and 0 <= at_y < down):
            continue
        band = picture.getpixel((int(at_x), int(at_y)))
        there = max(abs(a - b) for a, b in zip(band, ring)) < 12
        beside = []
        for away in (-focus["width"], focus["width"]):
            place = (int(at_x + away * to_x), int(at_y + away * to_y))
            if 0 <= place[0] < across and 0 <= place[1] < down:
                beside.append(picture.getpixel(place))
        seen += there and max(contrast(band, other) for other in beside) >= 3
    # Of what is larger than the window, two sides suffice.
    fits = right - left <= across and bottom - top <= down - 80
    page.expect(seen >= (4 if fits else 2), f"{focus['name']}: {seen} sides of the ring are seen")


def tab_to(page: Page, wanted: str | None, most: int) -> list[dict]:
    """Presses Tab until what has this id has the focus, or nothing has, or it stays: the stops on the way, all judged."""
    found = []
    for _ in range(most):
        page.press("Tab")
        focus = page.run(FOCUS)
        stays = bool(found) and focus["reached"] == found[-1]["reached"] >= 0
        page.expect(not stays, f"Tab does not leave {focus['name']}")
        if focus["body"] or stays:
            break
        found.append(focus)
        judge_focus(page, focus)
        if focus["id"] == wanted:
            break
    return found


def check_tab(page: Page, cells: Cells | None) -> None:
    """The Tab key comes from the top of the page to everything, into the map and out of it, and the focus is always seen."""
    all_stops = page.run(STOPS)
    page.expect(page.run(FOCUS)["body"] and page.run("return scrollY") == 0, "the page does not begin at its top")
    # Parts that scroll are stops of the browser's own.
    most = 2 * all_stops + 20
    found = []
    if cells:
        found = tab_to(page, "map-points", most)
        page.expect(bool(found) and found[-1]["id"] == "map-points", "Tab does not come to the map")
        check_keys(page, cells)
        page.press("Tab")
        beyond = page.run(FOCUS)
        judge_focus(page, beyond)
        page.expect(not beyond["body"] and beyond["id"] != "map-points", "Tab does not leave the map")
        page.press("Tab", shift=True)
        page.expect(page.run(FOCUS)["id"] == "map-points", "Tab with Shift does not come back to the map")
    found += tab_to(page, None, most)
    reached = {focus["reached"] for focus in found} - {-1}
    missed = page.run("return stops.filter((e, i) => !arguments[0].includes(i)).map((e) => `${e.tagName} ${e.textContent.trim()}`.slice(0, 40))", list(reached))
    page.expect(not missed, f"Tab misses {len(missed)} of {all_stops}: {missed[:3]}")


def check_keys(page: Page, cells: Cells) -> None:
    """The keys of the map, which has the focus."""
    page.press("0")
    start = page.view()
    page.press("ArrowRight")
    first = page.view()["hovered"]
    page.press("ArrowRight")
    second = page.view()["hovered"]
    page.expect(first >= 0 and second >= 0 and first != second, f"arrows do not go from cell to cell: {first}, {second}")
    for key in ("ArrowDown", "ArrowLeft", "ArrowUp", "]", "["):
        page.press(key)
        if (cell := page.view()["hovered"]) >= 0:
            cells.judge_tip(cell, key)
            said = page.run("return document.getElementById('map-live').textContent")
            page.expect(said.startswith(cells.name(cell)), f"{key}: of {cells.name(cell)} is said {said!r}")
    second = page.view()["hovered"]
    page.press("Enter")
    page.expect(page.view()["pinned"] == second, "Enter does not keep the cell")
    page.press("]")
    page.expect(page.view()["hovered"] != second, "] does not go to the next label")
    page.press("+")
    page.expect(page.view()["scale"] > start["scale"], "+ does not zoom")
    page.press("-")
    page.expect(abs(page.view()["scale"] / start["scale"] - 1) < 1e-9, "- does not take back the zoom")
    page.press("+")
    page.press("0")
    page.expect(abs(page.view()["scale"] / start["scale"] - 1) < 1e-9, "0 does not show the whole map")
    page.press("Escape")
    page.expect(page.view()["pinned"] == -1 and page.run(TIP)["hidden"], "Escape does not let the cell go")


def check_choices(page: Page, cells: Cells) -> None:
    """Every layout and every colour can be chosen with the arrow keys; the legend tells labels apart, counts, hides and shows them."""
    for select, field in (("map-layout", "layout"), ("map-color", "color")):
        values = page.run("const s = document.getElementById(arguments[0]); s.focus(); return [...s.options].map((o) => o.value)", select)
        page.press("Home")
        for at, value in enumerate(values):
            if at > 0:
                page.press("ArrowDown")
            page.expect(str(page.view()[field]) == value, f"{select} cannot be {value}")
            legend = page.run(MAP_MARKS)
            judge_marks(page, f"map by {legend['title']}", legend["marks"], legend["text"])
            cells.judge_counts()
        page.press("Home")
        page.expect(str(page.view()[field]) == values[0], f"{select} cannot be {values[0]} again")
    shown = "let k = 0; for (let i = 0; i < phenocoderReport.n; i++) k += phenocoderReport.cell(i).shown; return k"
    before = page.run(shown)
    entries = page.driver.find_elements(By.CSS_SELECTOR, "#map-legend button[data-code]")
    page.expect(bool(entries), "the legend is empty")
    if entries:
        entries[0].click()
        page.settle()
        page.expect(entries[0].get_attribute("aria-pressed") == "false" and page.run(shown) < before, "the legend does not hide")
        page.driver.find_element(By.CSS_SELECTOR, "#map-legend .more").click()
        page.settle()
        page.expect(page.run(shown) == before, "the legend does not show again")


def check_part(page: Page) -> None:
    """A page that holds a part of the cells of its table only says so: a copy of this one whose table has twice as many."""
    begin, end = '<script type="application/json" id="data">', "</script>"
    before, rest = page.path.read_text(encoding="utf-8").split(begin, 1)
    held, after = rest.split(end, 1)
    data = json.loads(held)
    data["all"] *= 2
    for column in data["columns"]:
        if column["kind"] == "labels":
            column["all"] = [2 * count for count in column["all"]]
    with tempfile.TemporaryDirectory(prefix="part-") as folder:
        part = Page(page.driver, Path(folder) / "report.html")
        held = json.dumps(data).replace("<", "\\u003c")
        part.path.write_text(before + begin + held + end + after, encoding="utf-8")
        part.open(*SIZES[0])
        cells = Cells(part)
        for layout in cells.layouts:
            part.run("const s = document.getElementById('map-layout'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))", layout)
            cells.judge_counts()
        part.judge_log()
    page.wrong.extend(f"a part of the cells: {one}" for one in part.wrong)


def check_pictures(page: Page) -> None:
    """Channels can be switched off in all pictures, and a cell of a gallery is found on the map."""
    pixels = """
        let sum = 0;
        for (const c of [...document.querySelectorAll('canvas[data-tile]')].slice(0, 60)) {
          sum += c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((a, v, i) => i % 4 < 3 ? a + v : a, 0);
        }
        return sum;"""
    if page.run("return document.querySelectorAll('canvas[data-tile]').length") == 0:
        return
    before = page.run(pixels)
    page.expect(before > 0, "all pictures are black")
    buttons = page.driver.find_elements(By.CSS_SELECTOR, ".channels button")
    if buttons:
        page.run("arguments[0].click()", buttons[0])
        page.expect(page.run(pixels) != before, "a channel cannot be switched")
        page.run("document.querySelector('.channels button').click()")
        page.expect(page.run(pixels) == before, "a channel cannot be switched back")
    tile = page.run("const b = document.querySelector('button[data-cell]'); if (b) b.click(); return b && Number(b.dataset.cell)")
    page.settle()
    page.expect(tile is None or page.view()["pinned"] == tile, "a cell of a gallery is not shown on the map")


def check_tables(page: Page) -> None:
    """Every column of every table is sorted both ways, the first one by the Enter key too."""
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
    wrong = page.run(
        """
        const wrong = [];
        for (const table of document.querySelectorAll("table.sortable")) {
          [...table.tHead.rows[0].cells].forEach((head, column) => {
            for (const [sign, sort] of [[1, "ascending"], [-1, "descending"]]) {
              head.querySelector("button").click();
              const cells = [...table.tBodies[0].rows].map((row) => row.cells[column]);
              const values = cells.map((cell) => cell.dataset.v).filter((v) => v).map(Number);
              const words = cells.filter((cell) => cell.dataset.v === undefined).map((cell) => cell.textContent);
              const by = (a, b) => a.localeCompare(b, "en", { numeric: true });
              const sorted = values.every((v, i) => i === 0 || sign * (v - values[i - 1]) >= 0)
                && words.every((v, i) => i === 0 || sign * by(v, words[i - 1]) >= 0)
                && cells.slice(values.length + words.length).every((cell) => cell.dataset.v === "");
              if (!sorted || head.getAttribute("aria-sort") !== sort) wrong.push(`${table.caption.textContent}: ${head.textContent} ${sort}`);
            }
          });
        }
        return wrong;
        """
    )
    page.wrong.extend(f"not sorted: {one}" for one in wrong)
    head = "document.querySelector('table.sortable th')"
    if page.run(f"const h = {head}; if (h) h.querySelector('button').focus(); return !!h"):
        page.press("Enter")
        page.expect(page.run(f"return {head}.getAttribute('aria-sort')") == "ascending", "Enter does not sort a table")
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = false })")


# How colours are seen. Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "full colour vision": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def linear(color: tuple[float, ...]) -> list[float]:
    """Linear sRGB of values up to 255."""
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (one / 255 for one in color)]


def lab(linear: tuple[float, ...]) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of linear sRGB."""
    r, g, b = (min(1.0, max(0.0, v)) for v in linear)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def rgb(color: str) -> tuple[float, ...]:
    """The numbers of a colour as the browser writes it."""
    return tuple(float(v) for v in re.findall(r"[\d.]+", color)[:3])


def judge_marks(page: Page, where: str, marks: list[dict], text: str) -> None:
    """Marks of one kind differ by 10 or more in L*a*b*, however they are seen; if some come again, the text says so."""
    different = {(mark["kind"], rgb(mark["color"])) for mark in marks}
    page.expect(len(different) == len(marks) or "come again" in text, f"{where}: {len(marks)} labels have {len(different)} marks")
    for eyes, matrix in EYES.items():
        seen = [(kind, color, lab(tuple(sum(m * v for m, v in zip(row, linear(color))) for row in matrix))) for kind, color in different]
        for (kind, one, a), (other_kind, other, b) in combinations(seen, 2):
            apart = sum((p - q) ** 2 for p, q in zip(a, b)) ** 0.5
            page.expect(kind != other_kind or apart >= 10, f"{where}: {one} and {other} with {eyes}: {apart:.1f}")


def check_bars(page: Page) -> None:
    """Pieces of bars look as the legend says, and what is drawn on them stands out."""
    for legend in page.run(MARKS):
        marks = {mark["name"]: mark for mark in legend["marks"]}
        judge_marks(page, "bars", legend["marks"], legend["text"])
        page.expect(bool(legend["pieces"]), "bars without pieces")
        for piece in legend["pieces"]:
            page.expect(marks.get(piece["name"]) == piece, f"a bar shows {piece['name']!r} as the legend does not")
        for mark in legend["marks"]:
            page.expect(contrast(rgb(mark["color"]), rgb(mark["ink"])) >= 4.5, f"the pattern of {mark['name']!r} cannot be seen")


def screenshot(page: Page, width: int, file: Path, small: bool) -> None:
    """The whole page, or small: the upper part of it as the README shows it."""
    page.run("scrollTo(0, 0)")
    height = page.run("return document.documentElement.scrollHeight")
    picture = page.picture(x=0, y=0, width=width, height=min(height, PICTURE_HEIGHT if small else 16_000))
    if small:
        picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    picture.save(file, optimize=small)
    size = file.stat().st_size
    page.expect(not small or size <= PICTURE_BYTES, f"{file.name} has {size} bytes, more than {PICTURE_BYTES}")


def check(driver: webdriver.Chrome, path: Path, arguments: argparse.Namespace) -> list[str]:
    """What is wrong with a page."""
    page = Page(driver, path)
    name = arguments.name or f"{path.parent.name}_{path.stem}"
    for width, height in SIZES:
        so_far = len(page.wrong)
        has_map = page.open(width, height)
        page.expect(has_map or arguments.without_map, "no map")
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        page.wrong.extend(page.run(LOOK)[:12])
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = false })")
        if arguments.screenshots:
            screenshot(page, width, arguments.screenshots / f"{name}_{width}.png", bool(arguments.name))
        cells = Cells(page) if has_map else None
        check_tab(page, cells)
        if cells:
            check_pointer(page, cells) if width == SIZES[0][0] else check_tap(page, cells)
            check_choices(page, cells)
            if width == SIZES[0][0]:
                check_numbers(page, cells)
            check_pictures(page)
        check_bars(page)
        check_tables(page)
        page.judge_log()
        if cells and width == SIZES[0][0]:
            check_part(page)
        page.wrong[so_far:] = [f"{width} px: {one}" for one in page.wrong[so_far:]]
    return page.wrong


def start(chromium: str, driver: str, profile: str) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--without-map", action="store_true", help="the runs made no map")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="keeps pictures of the pages")
    parser.add_argument("--name", help="with --screenshots and one page: the pictures of the README, by this name")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--driver", default=shutil.which("chromedriver"))
    arguments = parser.parse_args()
    if not arguments.chromium or not arguments.driver:
        print("no Chromium or no chromedriver: name them with --chromium and --driver", file=sys.stderr)
        return 2
    if arguments.name and (len(arguments.pages) > 1 or not arguments.screenshots):
        print("--name is for the pictures of one page: with --screenshots", file=sys.stderr)
        return 2
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    rejected = False
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        driver = start(arguments.chromium, arguments.driver, profile)
        try:
            for path in arguments.pages:
                wrong = check(driver, path, arguments)
                rejected |= bool(wrong)
                print(f"{path}: {'rejected' if wrong else 'accepted'}, {path.stat().st_size / 1e6:.1f} MB")
                for one in wrong:
                    print(f"  {one}")
        finally:
            driver.quit()
    return int(rejected)


if __name__ == "__main__":
    sys.exit(main())
