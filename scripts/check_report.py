#!/usr/bin/env python3
"""Opens the page of a run in Chromium and uses it as a reader would, by mouse, by keyboard, and on a telephone.

    python check_report.py PAGE... [--without-map] [--screenshots FOLDER] [--chromium FILE] [--driver FILE]

On every page, at 1280 × 900 and at 390 × 844 pixels: the browser reports no error, nothing is loaded but the file itself,
nothing is wider than the window, text is large enough and stands out from its background, what can be pressed is large
enough and has a name.  At 1280: the cell under the pointer is shown with its name and its picture, a click keeps it,
legend, choices, channels, galleries, sorted tables and keys do what they say; at 390 a tap keeps a cell.  A page without a
map is rejected, unless `--without-map` says that the run made none.  Colours of labels that share a shape can
be told apart with deuteranopia and protanopia (Machado, Oliveira & Fernandes 2009, doi:10.1109/TVCG.2009.113).
`--screenshots` keeps a picture of each page at both widths.
Exit code: 0 accepted, 1 rejected, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import sys
import tempfile
from itertools import combinations
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

SIZES = ((1280, 900), (390, 844))
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
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const seen = new Set();
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
  if (!text || seen.has(e) || !visible(e) || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName) || e.closest(".skip")) continue;
  seen.add(e);
  const style = getComputedStyle(e), svg = e.closest("svg");
  const size = parseFloat(style.fontSize) * (svg ? Math.abs(svg.getScreenCTM().a) : 1);
  if (size < (svg ? 10 : 12.5)) wrong.push(`text of ${size.toFixed(1)} px: ${text.slice(0, 40)}`);
  if (svg || e.tagName === "OPTION" || e.tagName === "OPTGROUP") continue;
  const [a, b] = [light(channels(style.color)), light(behind(e))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)}: ${text.slice(0, 40)} (${style.color} on ${behind(e)})`);
}
for (const e of document.querySelectorAll("button, select, summary, nav a, input")) {
  if (!visible(e)) continue;
  const box = e.getBoundingClientRect(), least = narrow ? 40 : 24;
  if (box.width < least || box.height < least) wrong.push(`${e.tagName} of ${box.width.toFixed(0)} × ${box.height.toFixed(0)} px: ${e.textContent.slice(0, 30)}`);
  const name = e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels[0]);
  if (!name) wrong.push(`a ${e.tagName} without a name`);
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

# How bright the picture in the tip is: the sum of all its colours; -1 without picture.
TIP = """
const tip = document.getElementById("map-tip"), canvas = tip.querySelector("canvas");
let sum = -1;
if (canvas) sum = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.reduce((a, v, i) => i % 4 < 3 ? a + v : a, 0);
return { hidden: tip.hidden, text: tip.innerText, sum, cell: tip.dataset.cell };
"""


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

    def press(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key, **(text if kind == "keyDown" else {})})
        self.settle()

    def view(self) -> dict:
        return self.run("return phenocoderReport.view()")

    def show_map(self) -> None:
        self.run("document.documentElement.style.scrollBehavior = 'auto'; document.getElementById('map-stage').scrollIntoView({block: 'center'})")
        self.settle()


def cells_that_can_be_pointed_at(page: Page, most: int) -> list[dict]:
    """Cells with a picture that no other cell covers, spread over all of them."""
    return page.run(
        """
        const report = phenocoderReport, found = [], step = Math.max(1, Math.floor(report.n / 400));
        for (let i = 0; i < report.n && found.length < arguments[0]; i += step) {
          const cell = report.cell(i), { x, y } = report.place(i);
          if (cell.picture && cell.shown && report.nearest(x, y) === i) found.push({ i, x, y, ...cell });
        }
        return found;
        """,
        most,
    )


def check_pointer(page: Page) -> None:
    page.show_map()
    cells = cells_that_can_be_pointed_at(page, 12)
    page.expect(bool(cells), "no cell with a picture can be pointed at")
    brightest = 0
    for cell in cells:
        page.point(cell["x"], cell["y"])
        tip = page.run(TIP)
        page.expect(not tip["hidden"] and tip["cell"] == str(cell["i"]), f"the tip of cell {cell['id']}: {tip}")
        page.expect(f"cell {cell['id']} of {cell['sample']}" in tip["text"].replace("\n", " "), f"the tip says {tip['text']!r}")
        brightest = max(brightest, tip["sum"])
    page.expect(brightest > 0, "the pictures in the tip are black")
    if not cells:
        return
    last = cells[-1]
    for kind in ("mousePressed", "mouseReleased"):
        page.point(last["x"], last["y"], kind)
    page.point(2, 2)
    page.expect(page.view()["pinned"] == last["i"] and not page.run(TIP)["hidden"], "a click does not keep the cell")
    before = page.view()
    page.point(last["x"], last["y"], "mousePressed")
    page.point(last["x"] + 40, last["y"] + 30)
    page.point(last["x"] + 40, last["y"] + 30, "mouseReleased")
    after = page.view()
    page.expect(abs(after["x"] - before["x"] - 40) < 1.5 and abs(after["y"] - before["y"] - 30) < 1.5, "the map cannot be dragged")


def check_tap(page: Page) -> None:
    page.show_map()
    cells = cells_that_can_be_pointed_at(page, 1)
    page.expect(bool(cells), "no cell with a picture can be tapped")
    for cell in cells:
        page.tap(cell["x"], cell["y"])
        page.expect(page.view()["pinned"] == cell["i"] and not page.run(TIP)["hidden"], "a tap does not keep the cell")


def check_keys(page: Page) -> None:
    page.run("document.getElementById('map-points').focus({preventScroll: true})")
    page.press("Escape")
    page.press("0")
    start = page.view()
    page.press("ArrowRight")
    first = page.view()["hovered"]
    page.press("ArrowRight")
    second = page.view()["hovered"]
    said = page.run("return document.getElementById('map-live').textContent")
    page.expect(first >= 0 and second >= 0 and first != second, f"arrows do not go from cell to cell: {first}, {second}")
    page.expect("cell " in said, f"nothing is said of the cell: {said!r}")
    page.press("Enter")
    page.expect(page.view()["pinned"] == second, "Enter does not keep the cell")
    page.press("]")
    page.expect(page.view()["hovered"] != second, "] does not go to the next label")
    page.press("+")
    page.expect(page.view()["scale"] > start["scale"], "+ does not zoom")
    page.press("0")
    page.expect(abs(page.view()["scale"] / start["scale"] - 1) < 1e-9, "0 does not show the whole map")
    page.press("Escape")
    page.expect(page.view()["pinned"] == -1 and page.run(TIP)["hidden"], "Escape does not let the cell go")


def check_choices(page: Page) -> None:
    """Every layout and every colour can be chosen; the legend hides and shows."""
    for select, field in (("map-layout", "layout"), ("map-color", "color")):
        values = page.run("return [...document.getElementById(arguments[0]).options].map((o) => o.value)", select)
        for value in [*values, values[0]]:
            page.run(
                "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
                select,
                value,
            )
            page.settle()
            page.expect(str(page.view()[field]) == value, f"{select} cannot be {value}")
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
    wrong = page.run(
        """
        const wrong = [];
        for (const table of document.querySelectorAll("table.sortable")) {
          [...table.tHead.rows[0].cells].forEach((head, column) => {
            for (const [sign, sort] of [[1, "ascending"], [-1, "descending"]]) {
              head.querySelector("button").click();
              const values = [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.v).filter((v) => v).map(Number);
              const sorted = values.every((v, i) => i === 0 || sign * (v - values[i - 1]) >= 0);
              if (!sorted || head.getAttribute("aria-sort") !== sort) wrong.push(`${table.caption.textContent}: ${head.textContent} ${sort}`);
            }
          });
        }
        return wrong;
        """
    )
    page.wrong.extend(f"not sorted: {one}" for one in wrong)


# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


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


def check_colors(page: Page) -> None:
    """Up to 24 labels: those of one shape must differ by 10 or more in L*a*b*, however they are seen."""
    data = page.run("return JSON.parse(document.getElementById('data').textContent).columns")
    for column in data:
        colors = column.get("colors", [])
        if not 1 < len(colors) <= 24:
            continue
        linear = []
        for color in colors:
            values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            linear.append([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values])
        shapes = 4 if len(colors) > 8 else 1
        for name, matrix in DEFICIENCIES.items():
            seen = [lab(tuple(sum(m * v for m, v in zip(row, c)) for row in matrix)) for c in linear]
            for i, j in combinations(range(len(colors)), 2):
                apart = sum((a - b) ** 2 for a, b in zip(seen[i], seen[j])) ** 0.5
                same_shape = i % shapes == j % shapes
                page.expect(not same_shape or apart >= 10, f"{column['name']}: {colors[i]} and {colors[j]} with {name}: {apart:.1f}")


def screenshot(page: Page, width: int, file: Path) -> None:
    page.run("scrollTo(0, 0)")
    height = min(page.run("return document.documentElement.scrollHeight"), 16_000)
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    file.write_bytes(base64.b64decode(picture["data"]))


def check(driver: webdriver.Chrome, path: Path, name: str, folder: Path | None, map_expected: bool) -> list[str]:
    """What is wrong with a page."""
    page = Page(driver, path)
    for width, height in SIZES:
        has_map = page.open(width, height)
        page.expect(has_map or not map_expected, f"{width} px: no map")
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        page.wrong.extend(f"{width} px: {one}" for one in page.run(LOOK)[:12])
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = false })")
        if folder:
            screenshot(page, width, folder / f"{name}_{width}.png")
        if width == SIZES[0][0]:
            if has_map:
                for part in (check_pointer, check_keys, check_choices, check_pictures, check_colors):
                    part(page)
            check_tables(page)
        elif has_map:
            check_tap(page)
        page.judge_log()
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
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER")
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--driver", default=shutil.which("chromedriver"))
    arguments = parser.parse_args()
    if not arguments.chromium or not arguments.driver:
        print("no Chromium or no chromedriver: name them with --chromium and --driver", file=sys.stderr)
        return 2
    if arguments.screenshots:
        arguments.screenshots.mkdir(parents=True, exist_ok=True)
    rejected = False
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        driver = start(arguments.chromium, arguments.driver, profile)
        try:
            for path in arguments.pages:
                wrong = check(driver, path, f"{path.parent.name}_{path.stem}", arguments.screenshots, not arguments.without_map)
                rejected |= bool(wrong)
                print(f"{path}: {'rejected' if wrong else 'accepted'}, {path.stat().st_size / 1e6:.1f} MB")
                for one in wrong:
                    print(f"  {one}")
        finally:
            driver.quit()
    return int(rejected)


if __name__ == "__main__":
    sys.exit(main())
