//! What pictures have in common: title, axes, legends, colour bars.

use crate::axis::{Axis, Tick, fixed};
use crate::color::{ColorMap, Rgb};
use crate::font::{self, Weight};
use crate::mark::Mark;
use crate::scene::{Anchor, Frame, Item, Scene, Shape, Text};

pub(crate) const TITLE_SIZE: f64 = 17.0;
pub(crate) const LABEL_SIZE: f64 = 14.0;
pub(crate) const TICK_SIZE: f64 = 12.0;
pub(crate) const MARGIN: f64 = 18.0;
/// What a heading takes.
pub(crate) const TITLE_ROOM: f64 = TITLE_SIZE + 14.0;

const TICK_LENGTH: f64 = 5.0;
const ENTRY_HEIGHT: f64 = 20.0;
const ENTRY_MAX: f64 = 190.0;
const BAR_WIDTH: f64 = 14.0;
/// Headings of colour bars are wrapped to lines of this width, where words allow it.
const HEADING_MAX: f64 = 90.0;
const HEADING_LINES: usize = 3;
const HEADING_LINE: f64 = 17.0;
/// How much wider than ours the bold letters of a viewer's font may be.
const WIDER: f64 = 1.2;

/// The part of the picture below the title, which is drawn above it.
pub(crate) fn below_title(scene: &mut Scene, title: &str) -> Frame {
    let whole = Frame::new(
        MARGIN,
        MARGIN,
        scene.width - 2.0 * MARGIN,
        scene.height - 2.0 * MARGIN,
    );
    if title.is_empty() {
        return whole;
    }
    let text = font::fit(title, TITLE_SIZE, Weight::Bold, whole.width);
    scene.text(Text::new((whole.x, whole.y + TITLE_SIZE * 0.8), text, TITLE_SIZE).bold());
    Frame::new(
        whole.x,
        whole.y + TITLE_ROOM,
        whole.width,
        whole.height - TITLE_ROOM,
    )
}

/// The width of a picture that is sized by what it shows: at least that of its heading, up to 720 points.
pub(crate) fn width_with_title(width: f64, title: &str) -> f64 {
    let title = font::width(title, TITLE_SIZE, Weight::Bold) + 2.0 * MARGIN;
    width.max(title.min(720.0))
}

/// What a heading takes above a picture; nothing where there is none.
pub(crate) fn title_room(title: &str) -> f64 {
    match title.is_empty() {
        true => 0.0,
        false => TITLE_ROOM,
    }
}

/// Writes in the middle of an empty picture why there is nothing to see.
pub(crate) fn note(scene: &mut Scene, frame: &Frame, text: &str) {
    let (x, y) = frame.center();
    scene.text(
        Text::new((x, y), text, LABEL_SIZE)
            .anchored(Anchor::Middle)
            .colored(Rgb::MUTED),
    );
}

/// Draws the grid and the numbers of an axis of values that lies below `frame`.
pub(crate) fn value_ticks(scene: &mut Scene, frame: &Frame, axis: &Axis) {
    for tick in axis.ticks((frame.width / 80.0).clamp(2.0, 8.0) as usize) {
        if let Some(t) = axis.position(tick.value) {
            let x = frame.x + t * frame.width;
            scene.line(vec![(x, frame.y), (x, frame.bottom())], Rgb::GRID, 1.0);
            let at = (x, frame.bottom() + TICK_SIZE + 5.0);
            scene.text(Text::new(at, tick.label, TICK_SIZE).anchored(Anchor::Middle));
        }
    }
}

/// Named rows of equal height, with their names at the left and room for an axis of values below them.
pub(crate) struct Rows {
    /// Where the rows are drawn.
    pub(crate) frame: Frame,
    pitch: f64,
    widest: f64,
}

impl Rows {
    const NAME_MAX: f64 = 260.0;

    /// Lays out rows of these names within `area`.
    pub(crate) fn new(area: &Frame, names: &[&str]) -> Self {
        let most = Self::NAME_MAX.min(0.4 * area.width);
        let widest = names
            .iter()
            .map(|name| font::width(name, TICK_SIZE, Weight::Regular).min(most))
            .fold(0.0, f64::max);
        let left = widest + 10.0;
        let below = TICK_SIZE + LABEL_SIZE + 20.0;
        let frame = Frame::new(
            area.x + left,
            area.y,
            (area.width - left - 8.0).max(1.0),
            (area.height - below).max(1.0),
        );
        Self {
            frame,
            pitch: frame.height / names.len().max(1) as f64,
            widest,
        }
    }

    /// The middle of a row.
    pub(crate) fn middle(&self, row: usize) -> f64 {
        self.frame.y + (row as f64 + 0.5) * self.pitch
    }

    /// How thick a row's bars are together, at most `most`.
    pub(crate) fn thickness(&self, most: f64) -> f64 {
        (self.pitch * 0.74).min(most)
    }

    /// Writes the names, leaving out some where there are more than can be read.
    pub(crate) fn names(&self, scene: &mut Scene, names: &[&str]) {
        let size = TICK_SIZE.min(self.pitch).max(7.0);
        let every = (size / self.pitch).ceil().max(1.0) as usize;
        for (row, name) in names.iter().enumerate().step_by(every) {
            let name = font::fit_middle(name, size, Weight::Regular, self.widest + 1.0);
            let at = (self.frame.x - 7.0, self.middle(row) + size * 0.36);
            scene.text(Text::new(at, name, size).anchored(Anchor::End));
        }
    }
}

/// How an axis is drawn.
pub(crate) struct AxisStyle<'a> {
    pub(crate) axis: Axis,
    pub(crate) label: &'a str,
    pub(crate) grid: bool,
}

fn y_ticks(axis: &Axis, height: f64) -> Vec<Tick> {
    axis.ticks((height / 62.0).clamp(2.0, 8.0) as usize)
}

/// What the label of an axis takes at its side.
pub(crate) fn label_room(label: &str) -> f64 {
    if label.is_empty() {
        0.0
    } else {
        LABEL_SIZE + 10.0
    }
}

/// The frame that is left for the data when both axes are drawn in `outer`.
pub(crate) fn axes_frame(outer: &Frame, x: &AxisStyle<'_>, y: &AxisStyle<'_>) -> Frame {
    let bottom = TICK_LENGTH + TICK_SIZE + 5.0 + label_room(x.label);
    let height = (outer.height - bottom).max(1.0);
    let widest = y_ticks(&y.axis, height)
        .iter()
        .map(|tick| font::width(&tick.label, TICK_SIZE, Weight::Regular))
        .fold(0.0, f64::max);
    let left = widest + TICK_LENGTH + 5.0 + label_room(y.label);
    // Half of the last label of the x axis may stand out.
    let width = (outer.width - left - 8.0).max(1.0);
    Frame::new(outer.x + left, outer.y, width, height)
}

/// Draws both axes around `frame`, within `outer`.
pub(crate) fn axes(
    scene: &mut Scene,
    outer: &Frame,
    frame: &Frame,
    x: &AxisStyle<'_>,
    y: &AxisStyle<'_>,
) {
    for tick in &y_ticks(&y.axis, frame.height) {
        let Some(t) = y.axis.position(tick.value) else {
            continue;
        };
        let at = frame.bottom() - t * frame.height;
        if y.grid {
            scene.line(vec![(frame.x, at), (frame.right(), at)], Rgb::GRID, 1.0);
        }
        scene.line(
            vec![(frame.x - TICK_LENGTH, at), (frame.x, at)],
            Rgb::AXIS,
            1.0,
        );
        scene.text(
            Text::new(
                (frame.x - TICK_LENGTH - 4.0, at + TICK_SIZE * 0.36),
                &*tick.label,
                TICK_SIZE,
            )
            .anchored(Anchor::End),
        );
    }
    for tick in x.axis.ticks((frame.width / 80.0).clamp(2.0, 8.0) as usize) {
        let Some(t) = x.axis.position(tick.value) else {
            continue;
        };
        let at = frame.x + t * frame.width;
        if x.grid {
            scene.line(vec![(at, frame.y), (at, frame.bottom())], Rgb::GRID, 1.0);
        }
        scene.line(
            vec![(at, frame.bottom()), (at, frame.bottom() + TICK_LENGTH)],
            Rgb::AXIS,
            1.0,
        );
        scene.text(
            Text::new(
                (at, frame.bottom() + TICK_LENGTH + TICK_SIZE + 1.0),
                tick.label,
                TICK_SIZE,
            )
            .anchored(Anchor::Middle),
        );
    }
    scene.line(
        vec![
            (frame.x, frame.y),
            (frame.x, frame.bottom()),
            (frame.right(), frame.bottom()),
        ],
        Rgb::AXIS,
        1.0,
    );
    axis_labels(scene, outer, frame, x.label, y.label);
}

/// Writes the labels of both axes at the outer edges.
pub(crate) fn axis_labels(scene: &mut Scene, outer: &Frame, frame: &Frame, x: &str, y: &str) {
    let (x_middle, y_middle) = frame.center();
    let x = font::fit(x, LABEL_SIZE, Weight::Regular, outer.width);
    let y = font::fit(y, LABEL_SIZE, Weight::Regular, outer.height);
    scene.text(Text::new((x_middle, outer.bottom() - 2.0), x, LABEL_SIZE).anchored(Anchor::Middle));
    scene.text(
        Text::new((outer.x + LABEL_SIZE * 0.8, y_middle), y, LABEL_SIZE)
            .anchored(Anchor::Middle)
            .rotated(-90.0),
    );
}

/// Two short arrows at the lower left, for axes whose numbers mean nothing.
pub(crate) fn arrows(scene: &mut Scene, frame: &Frame, x_label: &str, y_label: &str) {
    const LENGTH: f64 = 56.0;
    let (x, y) = (
        frame.x + LABEL_SIZE + 6.0,
        frame.bottom() - LABEL_SIZE - 6.0,
    );
    scene.line(
        vec![(x, y - LENGTH), (x, y), (x + LENGTH, y)],
        Rgb::AXIS,
        1.6,
    );
    for points in [
        vec![
            (x + LENGTH + 8.0, y),
            (x + LENGTH, y - 4.0),
            (x + LENGTH, y + 4.0),
        ],
        vec![
            (x, y - LENGTH - 8.0),
            (x - 4.0, y - LENGTH),
            (x + 4.0, y - LENGTH),
        ],
    ] {
        scene.push(Item::Polygon {
            points,
            fill: Rgb::AXIS,
        });
    }
    scene.text(Text::new((x, y + TICK_SIZE + 5.0), x_label, TICK_SIZE).with_halo(2.0));
    scene.text(
        Text::new((x - 7.0, y), y_label, TICK_SIZE)
            .rotated(-90.0)
            .with_halo(2.0),
    );
}

/// The sign before an entry of a legend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sign {
    Marker(Shape),
    /// A piece of a bar with the pattern of this mark.
    Swatch(Mark),
    Line(Option<(f64, f64)>),
}

/// One line of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) label: String,
    pub(crate) color: Rgb,
    pub(crate) sign: Sign,
}

/// A list of entries under a heading.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Legend {
    pub(crate) title: String,
    pub(crate) entries: Vec<Entry>,
}

/// Where the entries of legends stand.
struct LegendGrid {
    x: f64,
    columns: usize,
    column_width: f64,
}

/// Draws legends at the right of `outer`, one below the other, and returns what is left of it.
///
/// Where there is no room for all entries, legends share the rows, and say how many entries they leave out.
pub(crate) fn legends(scene: &mut Scene, outer: &Frame, legends: &[Legend]) -> Frame {
    let shown: Vec<&Legend> = legends.iter().filter(|l| !l.entries.is_empty()).collect();
    if shown.is_empty() {
        return *outer;
    }
    let fixed: f64 = shown.iter().map(|l| legend_heading(l) + 12.0).sum();
    let rows_at_most = (((outer.height - fixed) / ENTRY_HEIGHT).floor() as usize).max(1);
    let needed = |columns: usize| -> Vec<usize> {
        let rows = |legend: &&Legend| legend.entries.len().div_ceil(columns);
        shown.iter().map(rows).collect()
    };
    let columns = (1..3)
        .find(|&columns| needed(columns).iter().sum::<usize>() <= rows_at_most)
        .unwrap_or(3);
    let entry_max = if columns > 1 { 110.0 } else { ENTRY_MAX };
    let entry_width = |entry: &Entry| {
        let text = font::width(&entry.label, TICK_SIZE, Weight::Regular);
        sign_width(entry) + text.min(entry_max - sign_width(entry))
    };
    let column_width = shown
        .iter()
        .flat_map(|legend| &legend.entries)
        .map(entry_width)
        .fold(0.0, f64::max)
        + 6.0;
    let titles = shown
        .iter()
        .map(|legend| heading_room(&legend.title).min(ENTRY_MAX))
        .fold(0.0, f64::max);
    let width = (column_width * columns as f64).max(titles);
    let grid = LegendGrid {
        x: outer.right() - width,
        columns,
        column_width,
    };
    let mut y = outer.y + 4.0;
    for (legend, rows) in shown
        .iter()
        .zip(shared_rows(&needed(columns), rows_at_most))
    {
        if !legend.title.is_empty() {
            let title = font::fit(&legend.title, LABEL_SIZE, Weight::Bold, width);
            scene.text(Text::new((grid.x, y + LABEL_SIZE * 0.75), title, LABEL_SIZE).bold());
            y += legend_heading(legend);
        }
        grid.draw(scene, &legend.entries, y, rows);
        y += rows as f64 * ENTRY_HEIGHT + 12.0;
    }
    left_of(outer, width)
}

/// What the heading of a legend takes above its entries.
fn legend_heading(legend: &Legend) -> f64 {
    if legend.title.is_empty() { 0.0 } else { 22.0 }
}

/// What the sign before an entry takes.
fn sign_width(entry: &Entry) -> f64 {
    match entry.sign {
        Sign::Marker(_) | Sign::Swatch(_) => 18.0,
        Sign::Line(_) => 32.0,
    }
}

/// The rows of each of several legends that need so many and have `most` together, but at least one each: those that need
/// no more than an even share have what they need, the others share the rest evenly.
fn shared_rows(needed: &[usize], most: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needed.len()).collect();
    order.sort_by_key(|&legend| needed[legend]);
    let mut rows = vec![0; needed.len()];
    let mut left = most;
    for (before, legend) in order.into_iter().enumerate() {
        let share = left / (needed.len() - before);
        rows[legend] = needed[legend].min(share.max(1));
        left = left.saturating_sub(rows[legend]);
    }
    rows
}

impl LegendGrid {
    /// Draws entries into so many rows below `y`; the last place says how many others there are.
    fn draw(&self, scene: &mut Scene, entries: &[Entry], y: f64, rows: usize) {
        let room = rows * self.columns;
        let cut = entries.len() > room;
        let whole = if cut { room - 1 } else { entries.len() };
        let place = |i: usize| {
            let x = self.x + (i / rows) as f64 * self.column_width;
            let at = y + (i % rows) as f64 * ENTRY_HEIGHT + ENTRY_HEIGHT / 2.0;
            (x, at)
        };
        for (i, entry) in entries.iter().take(whole).enumerate() {
            let (x, at) = place(i);
            match entry.sign {
                Sign::Marker(shape) => scene.marker((x + 6.0, at), shape, entry.color, 5.0),
                Sign::Swatch(mark) => mark.fill(scene, &Frame::new(x, at - 6.0, 12.0, 12.0)),
                Sign::Line(dash) => scene.push(Item::Line {
                    points: vec![(x + 1.0, at), (x + 24.0, at)],
                    color: entry.color,
                    width: 2.5,
                    dash,
                }),
            }
            let room = self.column_width - sign_width(entry) - 4.0;
            let label = font::fit_middle(&entry.label, TICK_SIZE, Weight::Regular, room);
            scene.text(Text::new(
                (x + sign_width(entry), at + TICK_SIZE * 0.36),
                label,
                TICK_SIZE,
            ));
        }
        if cut {
            let (x, at) = place(whole);
            let text = format!("+ {} more", entries.len() - whole);
            scene.text(Text::new((x, at + TICK_SIZE * 0.36), text, TICK_SIZE).colored(Rgb::MUTED));
        }
    }
}

/// What is left of `outer` beside something of this width at its right.
fn left_of(outer: &Frame, width: f64) -> Frame {
    let left = (outer.width - width - 20.0).max(1.0);
    Frame::new(outer.x, outer.y, left, outer.height)
}

/// What a heading at the right of a picture takes.
///
/// Text in SVG is drawn with the font that the viewer has: in the margin there is room for a wider one.
fn heading_room(heading: &str) -> f64 {
    let width = font::width(heading, LABEL_SIZE, Weight::Bold);
    width.max(WIDER * width - MARGIN)
}

/// The lines of the heading of a colour bar; what does not fit into them is cut.
fn heading_lines(heading: &str) -> Vec<String> {
    let mut lines = font::wrap(heading, LABEL_SIZE, Weight::Bold, HEADING_MAX);
    if lines.len() > HEADING_LINES {
        let rest = lines.split_off(HEADING_LINES - 1);
        lines.push(rest.join(" "));
    }
    lines
        .iter()
        .map(|line| font::fit(line, LABEL_SIZE, Weight::Bold, ENTRY_MAX))
        .collect()
}

/// Draws a colour bar at the right of `outer` and returns what is left of it.
pub(crate) fn color_bar(
    scene: &mut Scene,
    outer: &Frame,
    map: ColorMap,
    range: (f64, f64),
    title: &str,
) -> Frame {
    let axis = Axis::linear(range.0, range.1);
    let heading = heading_lines(title);
    let above = match heading.len() {
        0 => 4.0,
        n => 28.0 + (n - 1) as f64 * HEADING_LINE,
    };
    let height = (outer.height * 0.6)
        .min(260.0)
        .min((outer.height - above).max(1.0));
    let ticks = if range.1 > range.0 {
        axis.ticks((height / 45.0).clamp(2.0, 6.0) as usize)
    } else {
        Vec::new()
    };
    let labels = ticks
        .iter()
        .map(|tick| font::width(&tick.label, TICK_SIZE, Weight::Regular))
        .fold(
            font::width(&fixed(range.0, 2), TICK_SIZE, Weight::Regular),
            f64::max,
        );
    let of_heading = heading
        .iter()
        .map(|line| heading_room(line))
        .fold(0.0, f64::max);
    let width = (BAR_WIDTH + 9.0 + labels).max(of_heading);
    let x0 = outer.right() - width;
    for (i, line) in heading.into_iter().enumerate() {
        let y = outer.y + 4.0 + LABEL_SIZE * 0.75 + i as f64 * HEADING_LINE;
        scene.text(Text::new((x0, y), line, LABEL_SIZE).bold());
    }
    let bar = Frame::new(x0, outer.y + above, BAR_WIDTH, height);
    draw_bar(scene, &bar, map, &axis, ticks, range.0);
    left_of(outer, width)
}

/// Draws the colours of a colour bar with its ticks, or with its one value where there are none.
fn draw_bar(
    scene: &mut Scene,
    bar: &Frame,
    map: ColorMap,
    axis: &Axis,
    ticks: Vec<Tick>,
    low: f64,
) {
    let steps = 128;
    scene.push(Item::Grid {
        frame: *bar,
        columns: 1,
        rows: steps,
        colors: (0..steps)
            .map(|i| map.color(1.0 - (i as f64 + 0.5) / steps as f64))
            .collect(),
    });
    scene.push(Item::Rect {
        frame: *bar,
        fill: None,
        stroke: Some((Rgb::AXIS, 0.8)),
    });
    let mut label = |t: f64, text: String| {
        let at = bar.bottom() - t * bar.height;
        scene.line(
            vec![(bar.right(), at), (bar.right() + 3.0, at)],
            Rgb::AXIS,
            1.0,
        );
        scene.text(Text::new(
            (bar.right() + 7.0, at + TICK_SIZE * 0.36),
            text,
            TICK_SIZE,
        ));
    };
    if ticks.is_empty() {
        label(0.5, fixed(low, 2));
    }
    for tick in ticks {
        if let Some(t) = axis.position(tick.value) {
            label(t, tick.label);
        }
    }
}
