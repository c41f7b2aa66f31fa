"use strict";
// The map of cells, and the pictures of cells all over the page.
(() => {
  // What the keys go to is brought into view as a whole: a browser leaves it where a corner of it is seen.
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches(":focus-visible")) target.scrollIntoView({ block: "nearest", inline: "nearest" });
  });

  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  if (!data || !find("map-points")) return;

  // ---- What the page holds. Numbers of 16 bits have the low byte first, as every machine with a browser does.
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const words = (text) => new Uint16Array(bytes(text).buffer);
  const NONE = 65535;
  const n = data.n;
  const ids = data.ids.split("\n");
  const sprites = words(data.sprites);
  const tiles = data.tiles;
  const images = [...document.querySelectorAll("img.atlas")];
  // The colours of numbers have 255 steps.
  const stepsOf = ({ low, high }, values) => Uint8Array.from(values, (v) => !Number.isFinite(v) ? 255
    : high > low ? Math.round(254 * Math.max(0, Math.min(1, (v - low) / (high - low)))) : 127);
  const columns = data.columns.map((column) => {
    const { kind, wide } = column;
    if (kind === "labels") return { ...column, codes: wide ? words(column.codes) : bytes(column.codes), missing: wide ? NONE : 255 };
    if (kind === "steps") return { ...column, steps: bytes(column.values) };
    const values = new (wide ? Float64Array : Float32Array)(bytes(column.values).buffer);
    return { ...column, values, steps: stepsOf(column, values) };
  });
  const samples = columns[data.sample];
  const labelOf = (column, i) => column.codes[i] === column.missing ? "none" : column.labels[column.codes[i]];
  const shapeNames = ["circle", "square", "triangle", "diamond"];
  // Whole numbers are shown whole, others to so many digits.
  const digits = (v, most = 3) => {
    if (Number.isInteger(v) && Math.abs(v) < 1e15) return String(v);
    const near = Number(v.toPrecision(most)), size = Math.abs(near);
    return size >= 10 ** Math.max(5, most) || size < 1e-3 ? v.toExponential(most - 1) : String(near);
  };
  const count = (k) => k.toLocaleString("en");
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // ---- Pictures: tiles of the images, their channels added up in colour.
  const scratch = make("canvas", { width: tiles.width, height: tiles.height });
  const pen = scratch.getContext("2d", { willReadFrequently: true });
  const mixed = (tile) => {
    const { width, height } = tiles;
    const x = (tile % tiles.columns) * width, y = Math.floor(tile / tiles.columns) * height;
    const planes = images.map((image) => {
      pen.drawImage(image, x, y, width, height, 0, 0, width, height);
      return pen.getImageData(0, 0, width, height).data;
    });
    const on = tiles.channels.map((channel, i) => ({ ...channel, i })).filter((channel) => channel.on);
    const grey = on.length === 1 && !on[0].named;
    const picture = new ImageData(width, height);
    for (let p = 0; p < width * height; p++) {
      const sum = [0, 0, 0];
      for (const { color, i } of on) {
        const v = Math.min(1, gain * planes[Math.floor(i / 3)][4 * p + i % 3] / 255);
        for (let k = 0; k < 3; k++) sum[k] += v * (grey ? 255 : color[k]);
      }
      picture.data.set([sum[0], sum[1], sum[2], 255], 4 * p);
    }
    return picture;
  };
  const drawTile = (canvas, tile) => {
    canvas.width = tiles.width;
    canvas.height = tiles.height;
    canvas.getContext("2d").putImageData(mixed(tile), 0, 0);
  };
  // Dim cells are seen better when all are made brighter alike.
  let gain = 1;
  const drawTiles = () => {
    for (const canvas of document.querySelectorAll("canvas[data-tile]")) drawTile(canvas, Number(canvas.dataset.tile));
  };
  const channelBars = [...document.querySelectorAll(".channels")];
  const drawChannels = () => {
    if (images.length === 0) return;
    for (const bar of channelBars) {
      bar.setAttribute("role", "group");
      bar.setAttribute("aria-label", "Pictures of cells");
      const buttons = tiles.channels.map((channel, i) => {
        const swatch = make("i", {});
        swatch.style.setProperty("--color", `rgb(${channel.color.join(",")})`);
        const button = make("button", { type: "button" }, swatch, channel.name);
        button.setAttribute("aria-pressed", String(channel.on));
        button.addEventListener("click", () => {
          channel.on = !channel.on;
          if (!tiles.channels.some((other) => other.on)) channel.on = true;
          drawChannels();
          drawTiles();
          showTip();
          bar.children[i].focus();
        });
        return button;
      });
      const slider = make("input", { type: "range", min: "0", max: "4", step: "0.5", value: String(Math.log2(gain)) });
      slider.addEventListener("input", () => {
        gain = 2 ** Number(slider.value);
        for (const other of document.querySelectorAll(".channels input")) other.value = slider.value;
        drawTiles();
        showTip();
      });
      const shown = tiles.channels.length > 1 ? buttons : [];
      bar.replaceChildren(...shown, make("label", {}, "Brightness ", slider));
    }
  };

  // ---- What is shown.
  const stage = find("map-stage"), canvas = find("map-points"), marks = find("map-marks"), tip = find("map-tip");
  const live = find("map-live"), legend = find("map-legend");
  const layoutSelect = find("map-layout"), colorSelect = find("map-color");
  const context = canvas.getContext("2d"), markContext = marks.getContext("2d");
  const decoded = (points) => points && { x: words(points.x), y: words(points.y) };
  const layouts = { map: decoded(data.map), tissue: decoded(data.tissue) };
  const px = new Float32Array(n), py = new Float32Array(n);
  const here = new Uint8Array(n), seen = new Uint8Array(n);
  let layout = null, color = 0, highlight = null, hovered = -1, pinned = -1;
  const hidden = columns.map(() => new Set());
  let view = { scale: 1, x: 0, y: 0 }, whole = { ...view };
  let width = 0, height = 0, ratio = 1;

  // A random but fixed order, so that no label covers another only because it comes later.
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let state = 12345;
  for (let i = n - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor(state / 4294967296 * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }

  const styleOf = (i) => {
    const column = columns[color];
    return column.kind === "labels" ? column.codes[i] : column.steps[i];
  };
  const missingOf = (column) => column.kind === "labels" ? column.missing : 255;

  const place = () => {
    const tissue = layout !== "map";
    const points = tissue ? layouts.tissue : layouts.map;
    const sample = tissue ? Number(layout) : -1;
    for (let i = 0; i < n; i++) {
      here[i] = Number(points.x[i] !== NONE && points.y[i] !== NONE && (!tissue || samples.codes[i] === sample));
      px[i] = points.x[i] / 65534;
      py[i] = (tissue ? points.y[i] : 65534 - points.y[i]) / 65534;
    }
  };

  // ---- Looking up the cell under the pointer: 64 × 64 bins over what is shown.
  const BINS = 64;
  const bins = { start: new Uint32Array(BINS * BINS + 1), cells: new Uint32Array(n), left: 0, top: 0, side: 1 };
  const binOf = (x, y) => {
    const at = (v, from) => Math.max(0, Math.min(BINS - 1, Math.floor((v - from) / bins.side * BINS)));
    return at(y, bins.top) * BINS + at(x, bins.left);
  };
  const bounds = (which) => {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      if (!which[i]) continue;
      left = Math.min(left, px[i]); right = Math.max(right, px[i]);
      top = Math.min(top, py[i]); bottom = Math.max(bottom, py[i]);
    }
    return left <= right ? { left, right, top, bottom } : { left: 0, right: 1, top: 0, bottom: 1 };
  };
  const see = () => {
    const closed = hidden[color];
    for (let i = 0; i < n; i++) seen[i] = Number(here[i] && !closed.has(styleOf(i)));
    const all = bounds(here);
    Object.assign(bins, { left: all.left, top: all.top, side: Math.max(all.right - all.left, all.bottom - all.top, 1e-6) });
    bins.start.fill(0);
    for (let i = 0; i < n; i++) if (seen[i]) bins.start[binOf(px[i], py[i]) + 1]++;
    for (let b = 0; b < BINS * BINS; b++) bins.start[b + 1] += bins.start[b];
    const next = bins.start.slice();
    for (let i = 0; i < n; i++) if (seen[i]) bins.cells[next[binOf(px[i], py[i])]++] = i;
  };
  const nearest = (x, y, reach) => {
    const wx = (x - view.x) / view.scale, wy = (y - view.y) / view.scale, far = reach / view.scale;
    const first = binOf(wx - far, wy - far), last = binOf(wx + far, wy + far);
    let best = -1, least = far * far;
    for (let row = Math.floor(first / BINS); row <= Math.floor(last / BINS); row++) {
      for (let column = first % BINS; column <= last % BINS; column++) {
        const bin = row * BINS + column;
        for (let k = bins.start[bin]; k < bins.start[bin + 1]; k++) {
          const i = bins.cells[k], away = (px[i] - wx) ** 2 + (py[i] - wy) ** 2;
          if (away <= least) { least = away; best = i; }
        }
      }
    }
    return best;
  };

  // ---- Drawing.
  const radius = () => {
    const count = Math.max(1, bins.start[BINS * BINS]);
    const room = Math.min(1, Math.sqrt(Math.min(width, height) / 560));
    const base = Math.max(1.5, Math.min(6, 4.4 * (600 / count) ** 0.24)) * room;
    return base * Math.max(1, Math.min(3, Math.sqrt(view.scale / whole.scale)));
  };
  const outline = (target, shape, x, y, r) => {
    target.beginPath();
    if (shape === 1) target.rect(x - 0.89 * r, y - 0.89 * r, 1.78 * r, 1.78 * r);
    else if (shape === 2) { target.moveTo(x, y - 1.3 * r); target.lineTo(x + 1.13 * r, y + 0.7 * r); target.lineTo(x - 1.13 * r, y + 0.7 * r); }
    else if (shape === 3) { target.moveTo(x, y - 1.28 * r); target.lineTo(x + 1.28 * r, y); target.lineTo(x, y + 1.28 * r); target.lineTo(x - 1.28 * r, y); }
    else target.arc(x, y, r, 0, 7);
    target.closePath();
  };
  const paintOf = (column, style) => {
    if (style === missingOf(column)) return ["#cdcdcd", 0];
    if (column.kind === "labels") return [column.colors[style], column.shapes[style]];
    return [data.ramp[Math.round(style / 254 * (data.ramp.length - 1))], 0];
  };
  const stampOf = (paint, shape, r) => {
    const side = Math.ceil((2.6 * r + 2) * ratio);
    const stamp = make("canvas", { width: side, height: side });
    const target = stamp.getContext("2d");
    target.scale(ratio, ratio);
    outline(target, shape, side / ratio / 2, side / ratio / 2, r);
    target.fillStyle = paint;
    target.fill();
    return stamp;
  };
  // Many points are set pixel by pixel, which is much quicker than stamps.
  const MANY = 15000;
  const dotOf = (paint, shape, r, alpha) => {
    const stamp = stampOf(paint, shape, r), side = stamp.width;
    const covered = stamp.getContext("2d").getImageData(0, 0, side, side).data;
    const offsets = [];
    for (let p = 0; p < side * side; p++) {
      if (covered[4 * p + 3] > 127) offsets.push([p % side - (side >> 1), Math.floor(p / side) - (side >> 1)]);
    }
    const [red, green, blue] = [1, 3, 5].map((at) => Math.round(255 + (parseInt(paint.slice(at, at + 2), 16) - 255) * alpha));
    return { offsets, color: (255 << 24 | blue << 16 | green << 8 | red) >>> 0 };
  };
  const draw = () => {
    if (width === 0) return;
    const column = columns[color], r = radius(), many = bins.start[BINS * BINS] > MANY;
    const [across, down] = [canvas.width, canvas.height];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, across, down);
    const image = many ? context.createImageData(across, down) : null;
    const pixels = many ? new Uint32Array(image.data.buffer) : null;
    const pass = (wanted, alpha) => {
      const marks = new Map();
      const markOf = (style) => {
        const [paint, shape] = paintOf(column, style), key = paint + shape;
        if (!marks.has(key)) marks.set(key, many ? dotOf(paint, shape, r, alpha) : stampOf(paint, shape, r));
        return marks.get(key);
      };
      context.globalAlpha = alpha;
      for (let k = 0; k < n; k++) {
        const i = order[k];
        if (!seen[i]) continue;
        const x = px[i] * view.scale + view.x, y = py[i] * view.scale + view.y;
        if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
        const style = styleOf(i);
        if (!wanted(style)) continue;
        const mark = markOf(style);
        if (!many) {
          context.drawImage(mark, Math.round(x * ratio - mark.width / 2), Math.round(y * ratio - mark.height / 2));
          continue;
        }
        const atX = Math.round(x * ratio), atY = Math.round(y * ratio);
        for (const [dx, dy] of mark.offsets) {
          const column = atX + dx, row = atY + dy;
          if (column >= 0 && column < across && row >= 0 && row < down) pixels[row * across + column] = mark.color;
        }
      }
    };
    const none = missingOf(column);
    if (highlight === null) {
      pass((style) => style === none, 0.8);
      pass((style) => style !== none, 0.85);
    } else {
      pass((style) => style !== highlight, 0.1);
      pass((style) => style === highlight, 0.95);
    }
    if (many) context.putImageData(image, 0, 0);
    drawMarks();
  };
  const drawMarks = () => {
    markContext.setTransform(ratio, 0, 0, ratio, 0, 0);
    markContext.clearRect(0, 0, width, height);
    for (const [i, kept] of [[hovered, false], [pinned, true]]) {
      if (i < 0 || !here[i]) continue;
      const { x, y } = onStage(i), r = radius() + 4;
      for (const [paint, line] of [["#ffffff", 6], [kept ? "#000000" : "#00629b", 3]]) {
        outline(markContext, 0, x, y, r);
        markContext.strokeStyle = paint;
        markContext.lineWidth = line;
        markContext.stroke();
      }
    }
  };
  let asked = false;
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); showTip(); });
  };
  const onStage = (i) => ({ x: px[i] * view.scale + view.x, y: py[i] * view.scale + view.y });

  // ---- The cell that is pointed at or kept.
  const describe = (i) => {
    const parts = [`cell ${ids[i]} of ${labelOf(samples, i)}`];
    if (data.cluster !== null) parts.push(`cluster ${labelOf(columns[data.cluster], i)}`);
    const column = columns[color];
    if (color !== data.sample && color !== data.cluster) parts.push(`${column.name}: ${valueOf(column, i)}`);
    return parts;
  };
  const valueOf = (column, i) => {
    if (column.kind === "labels") return labelOf(column, i);
    const step = column.steps[i];
    if (step === 255) return "none";
    if (column.kind === "numbers") return digits(column.values[i], 7);
    const at = (s) => digits(column.low + s / 254 * (column.high - column.low));
    return step === 0 ? `≤ ${at(0.5)}` : step === 254 ? `≥ ${at(253.5)}` : `≈ ${at(step)}`;
  };
  const showTip = () => {
    const i = hovered >= 0 ? hovered : pinned;
    if (i < 0 || !here[i]) { tip.hidden = true; return; }
    const parts = describe(i);
    const picture = make("canvas", {});
    const shown = sprites[i] !== NONE && images.length > 0;
    if (shown) drawTile(picture, sprites[i]);
    tip.replaceChildren(shown ? picture : make("div", { className: "none" }, "no picture"),
      make("b", {}, parts[0]), ...parts.slice(1).map((part) => make("div", {}, part)));
    tip.hidden = false;
    tip.dataset.cell = String(i);
    const { x, y } = onStage(i), away = radius() + 10;
    const w = tip.offsetWidth, h = tip.offsetHeight;
    const left = x + away + w <= width ? x + away : x - away - w;
    tip.style.left = `${Math.max(4, Math.min(width - w - 4, left))}px`;
    tip.style.top = `${Math.max(4, Math.min(height - h - 4, y - h / 2))}px`;
  };
  const point = (i, say) => {
    if (hovered === i && !say) return;
    hovered = i;
    drawMarks();
    showTip();
    if (say && i >= 0) live.textContent = describe(i).join(", ");
  };
  const keep = (i) => {
    pinned = i;
    if (i >= 0) live.textContent = `${describe(i).join(", ")}; kept`;
    drawMarks();
    showTip();
  };
  const bringIntoView = (i) => {
    const { x, y } = onStage(i), edge = 24;
    view.x += Math.max(0, edge - x) + Math.min(0, width - edge - x);
    view.y += Math.max(0, edge - y) + Math.min(0, height - edge - y);
    redraw();
  };

  // ---- The view.
  const fit = () => {
    const all = bounds(here), margin = 28;
    const across = Math.max(all.right - all.left, 1e-6), down = Math.max(all.bottom - all.top, 1e-6);
    const scale = Math.min((width - 2 * margin) / across, (height - 2 * margin) / down);
    view = { scale, x: width / 2 - scale * (all.left + all.right) / 2, y: height / 2 - scale * (all.top + all.bottom) / 2 };
    whole = { ...view };
  };
  const zoom = (factor, x = width / 2, y = height / 2) => {
    const scale = Math.max(whole.scale * 0.5, Math.min(whole.scale * 200, view.scale * factor));
    const by = scale / view.scale;
    view = { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
    redraw();
  };
  const reset = () => { fit(); redraw(); };
  const resize = () => {
    const box = stage.getBoundingClientRect();
    if (box.width < 10 || box.height < 10) return;
    const was = view.scale === whole.scale;
    width = box.width; height = box.height; ratio = Math.max(1, window.devicePixelRatio || 1);
    for (const each of [canvas, marks]) { each.width = Math.round(width * ratio); each.height = Math.round(height * ratio); }
    if (was) fit();
    redraw();
  };

  // ---- The legend.
  const drawLegend = () => {
    const column = columns[color], heading = make("h3", { tabIndex: -1 }, column.name);
    if (column.kind !== "labels") {
      const ramp = make("div", { className: "ramp" });
      ramp.style.background = `linear-gradient(to right, ${data.ramp.join(",")})`;
      const ends = make("div", { className: "ends" }, make("span", {}, digits(column.low)), make("span", {}, digits(column.high)));
      legend.replaceChildren(heading, ramp, ends);
      return;
    }
    const counts = new Map();
    for (let i = 0; i < n; i++) if (here[i]) counts.set(column.codes[i], (counts.get(column.codes[i]) || 0) + 1);
    const closed = hidden[color];
    const codes = [...counts.keys()].sort((a, b) => a - b);
    const entries = codes.map((code) => {
      const [paint, shape] = paintOf(column, code);
      const mark = make("i", { className: `mark ${shapeNames[shape]}` });
      mark.style.setProperty("--color", paint);
      const none = code === column.missing, name = none ? "none" : column.labels[code];
      const shown = counts.get(code), all = column.all[none ? column.labels.length : code];
      const many = layout === "map" && shown < all ? `${count(shown)} of ${count(all)}` : count(shown);
      const button = make("button", { type: "button" }, mark, make("span", {}, name), make("small", {}, many));
      button.setAttribute("aria-pressed", String(!closed.has(code)));
      button.dataset.code = String(code);
      const lit = (on) => () => { highlight = on && !closed.has(code) ? code : null; redraw(); };
      button.addEventListener("pointerenter", lit(true));
      button.addEventListener("pointerleave", lit(false));
      button.addEventListener("focus", lit(true));
      button.addEventListener("blur", lit(false));
      button.addEventListener("click", () => {
        if (!closed.delete(code)) closed.add(code);
        highlight = closed.has(code) ? null : code;
        button.setAttribute("aria-pressed", String(!closed.has(code)));
        open.hidden = closed.size === 0;
        see();
        redraw();
      });
      return button;
    });
    const open = make("button", { type: "button", className: "more", hidden: closed.size === 0 }, "Show all");
    open.addEventListener("click", () => {
      closed.clear();
      highlight = null;
      drawLegend();
      // The button is gone: keys go on from the head of the legend.
      legend.firstElementChild.focus({ preventScroll: true });
      see();
      redraw();
    });
    const differ = new Set(column.colors.map((paint, code) => paint + column.shapes[code])).size;
    const again = differ < column.colors.length
      ? [make("p", { className: "caption" }, `Marks come again after ${differ} labels: the map shows the entry that you point at.`)]
      : [];
    legend.replaceChildren(heading, ...again, ...entries, open);
  };
  // How many of the cells are there to be seen.
  const sayShown = () => {
    const shown = here.reduce((sum, one) => sum + one, 0), mapped = layout === "map";
    const all = mapped ? data.all : samples.all[Number(layout)];
    const share = n < data.all ? ", of every cluster in every sample its share" : "; the others have no place here";
    const line = find("map-shown");
    line.hidden = shown >= all;
    line.textContent = `Shown: ${count(shown)} of ${count(all)} cells${share}.${mapped ? "" : " The legend counts those shown."}`;
  };

  // ---- Choices.
  const choose = (name) => {
    layout = name;
    layoutSelect.value = name;
    place();
    see();
    if (width > 0) fit();
    hovered = -1;
    drawLegend();
    sayShown();
    redraw();
  };
  const recolor = (index) => {
    color = index;
    highlight = null;
    see();
    drawLegend();
    redraw();
  };
  const fillSelects = () => {
    const option = (value, text) => make("option", { value, textContent: text });
    if (layouts.map) layoutSelect.append(option("map", "UMAP: alike cells lie together"));
    if (layouts.tissue) {
      const group = make("optgroup", { label: "Where the cells lie" });
      samples.labels.forEach((name, code) => group.append(option(String(code), name)));
      layoutSelect.append(group);
    }
    const groups = new Map();
    columns.forEach((column, i) => {
      const kind = column.kind === "labels" ? "Labels" : column.name.startsWith("latent ") ? "Latents" : "Numbers";
      if (!groups.has(kind)) groups.set(kind, make("optgroup", { label: kind }));
      groups.get(kind).append(option(String(i), column.name));
    });
    colorSelect.append(...groups.values());
    layoutSelect.addEventListener("change", () => { pinned = -1; choose(layoutSelect.value); });
    colorSelect.addEventListener("change", () => recolor(Number(colorSelect.value)));
  };
  // Shows a cell wherever the map is: in another sample's tissue that is turned to, and its label is not hidden. A cell
  // that has no place in what is shown is looked for in the other layout.
  const select = (i) => {
    if (!here[i]) {
      const sample = samples.codes[i];
      const lies = (points) => points && points.x[i] !== NONE && points.y[i] !== NONE;
      const mapped = lies(layouts.map), inTissue = lies(layouts.tissue) && sample !== samples.missing;
      if (inTissue && (layout !== "map" || !mapped)) choose(String(sample));
      else if (mapped) choose("map");
    }
    if (!here[i]) {
      live.textContent = `${describe(i).join(", ")}; it has no place`;
      return;
    }
    if (!seen[i]) { hidden[color].clear(); drawLegend(); see(); }
    hovered = -1;
    bringIntoView(i);
    keep(i);
  };

  // ---- Pointer, wheel, keys.
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const held = new Map();
  let moved = 0, spread = 0;
  canvas.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, at(event));
    moved = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event), before = held.get(event.pointerId);
    if (!before) { point(nearest(now.x, now.y, 12), false); return; }
    held.set(event.pointerId, now);
    if (held.size === 2) {
      const [a, b] = [...held.values()];
      const apart = Math.hypot(a.x - b.x, a.y - b.y);
      if (spread > 0) zoom(apart / spread, (a.x + b.x) / 2, (a.y + b.y) / 2);
      spread = apart;
      moved = 99;
      return;
    }
    moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (moved < 5) return;
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    hovered = -1;
    redraw();
  });
  const release = (event) => {
    const was = held.delete(event.pointerId);
    spread = 0;
    if (!was || event.type === "pointercancel" || moved >= 5) return;
    const { x, y } = at(event), i = nearest(x, y, event.pointerType === "touch" ? 24 : 12);
    keep(i === pinned ? -1 : i);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (held.size === 0) point(-1, false); });
  canvas.addEventListener("dblclick", reset);
  canvas.addEventListener("wheel", (event) => {
    // The page scrolls past a map that nobody asked to zoom.
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    const { x, y } = at(event);
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), x, y);
  }, { passive: false });
  const middle = () => {
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (!seen[i]) continue;
      const { x, y } = onStage(i), away = (x - width / 2) ** 2 + (y - height / 2) ** 2;
      if (away < least) { least = away; best = i; }
    }
    return best;
  };
  const step = (dx, dy) => {
    const from = hovered >= 0 ? hovered : pinned;
    if (from < 0 || !seen[from]) { const i = middle(); if (i >= 0) point(i, true); return; }
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (!seen[i] || i === from) continue;
      const along = (px[i] - px[from]) * dx + (py[i] - py[from]) * dy;
      const aside = Math.abs((px[i] - px[from]) * dy - (py[i] - py[from]) * dx);
      if (along <= 0 || aside > along) continue;
      if (along + aside < least) { least = along + aside; best = i; }
    }
    if (best >= 0) { point(best, true); bringIntoView(best); }
  };
  const nextLabel = (by) => {
    const column = columns[color];
    if (column.kind !== "labels") return;
    const members = new Map();
    for (let i = 0; i < n; i++) {
      if (!seen[i]) continue;
      const sum = members.get(column.codes[i]) || [0, 0, 0];
      sum[0] += px[i]; sum[1] += py[i]; sum[2]++;
      members.set(column.codes[i], sum);
    }
    const codes = [...members.keys()].sort((a, b) => a - b);
    if (codes.length === 0) return;
    const from = hovered >= 0 ? hovered : pinned;
    const now = from < 0 ? -1 : codes.indexOf(column.codes[from]);
    const code = codes[now < 0 ? 0 : (now + by + codes.length) % codes.length];
    const [x, y, count] = members.get(code);
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (!seen[i] || column.codes[i] !== code) continue;
      const away = (px[i] - x / count) ** 2 + (py[i] - y / count) ** 2;
      if (away < least) { least = away; best = i; }
    }
    point(best, true);
    bringIntoView(best);
  };
  const keys = {
    ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": reset,
    Enter: () => { if (hovered >= 0) keep(hovered); },
    Escape: () => { hovered = -1; keep(-1); live.textContent = ""; },
    "[": () => nextLabel(-1), "]": () => nextLabel(1),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  find("zoom-in").addEventListener("click", () => zoom(1.5));
  find("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  find("zoom-reset").addEventListener("click", reset);
  for (const button of document.querySelectorAll("button[data-cell]")) {
    button.addEventListener("click", () => {
      select(Number(button.dataset.cell));
      find("cells").scrollIntoView();
      canvas.focus({ preventScroll: true });
    });
  }

  // ---- Begin.
  const ready = Promise.all(images.map((image) => image.decode())).then(() => {
    drawChannels();
    drawTiles();
    showTip();
  });
  // For tests: whether there is a map, where a cell lies in the window, and what the page holds of it.
  window.phenocoderReport = { n, ready, map: false };
  fillSelects();
  if (layoutSelect.options.length === 0) {
    stage.replaceChildren(make("p", { className: "absent" }, "The cells have neither a map nor a place."));
    return;
  }
  choose(layoutSelect.options[0].value);
  resize();
  new ResizeObserver(resize).observe(stage);
  Object.assign(window.phenocoderReport, {
    map: true,
    place: (i) => {
      const box = canvas.getBoundingClientRect(), { x, y } = onStage(i);
      return { x: x + box.left, y: y + box.top };
    },
    cell: (i) => ({ id: ids[i], sample: labelOf(samples, i), picture: sprites[i] !== NONE, shown: seen[i] === 1 }),
    nearest: (x, y) => { const box = canvas.getBoundingClientRect(); return nearest(x - box.left, y - box.top, 12); },
    view: () => ({ ...view, hovered, pinned, layout, color }),
  });
})();
