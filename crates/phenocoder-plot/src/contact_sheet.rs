//! Small pictures in named rows and columns.

use ndarray::Array3;
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::color::Rgb;
use crate::error::ConfigError;
use crate::font::{self, Weight};
use crate::layout::{self, LABEL_SIZE, MARGIN, TICK_SIZE};
use crate::scene::{Anchor, Frame, Item, Scene, Text};
use crate::{Figure, Result};

/// Between pictures.
const GAP: f64 = 3.0;
/// Between columns of different headings, where a heading has several.
const GROUP_GAP: f64 = 14.0;
/// The width of the names of rows at most.
const NAME_MAX: f64 = 170.0;
/// The height of a line of the key to the colours.
const KEY_LINE: f64 = 20.0;
/// What the headings of the columns take.
const HEAD: f64 = LABEL_SIZE + 8.0;

/// A row of [`contact_sheet`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// What stands before the row.
    pub name: String,
    /// What stands below the name, smaller; empty for nothing.
    pub note: String,
    /// A picture per column in red, green and blue, `[y, x, 3]`; `None` leaves an empty frame.
    pub tiles: Vec<Option<Array3<u8>>>,
}

impl SheetRow {
    /// A row of this name without a note.
    pub fn new(name: impl Into<String>, tiles: Vec<Option<Array3<u8>>>) -> Self {
        Self {
            name: name.into(),
            note: String::new(),
            tiles,
        }
    }

    /// Sets what stands below the name.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Settings of [`contact_sheet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ContactSheetConfig {
    /// Heading (default none).
    pub title: String,
    /// Height of a shown picture in points (default 56).
    pub tile: f64,
    /// What the colours in the pictures mean, such as the channels (default none): a key below them.
    pub key: Vec<(String, Rgb)>,
}

impl Default for ContactSheetConfig {
    fn default() -> Self {
        Self {
            title: String::new(),
            tile: 56.0,
            key: Vec::new(),
        }
    }
}

impl ContactSheetConfig {
    /// Sets the heading.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the height of a shown picture.
    #[must_use]
    pub fn with_tile(mut self, height: f64) -> Self {
        self.tile = height;
        self
    }

    /// Sets what the colours in the pictures mean.
    #[must_use]
    pub fn with_key(mut self, key: Vec<(String, Rgb)>) -> Self {
        self.key = key;
        self
    }

    /// Checks that every setting can be drawn.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] for a tile outside 8…1000.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_range("tile", self.tile, (8.0, 1_000.0), "a side from 8 to 1000")
    }
}

/// Draws small pictures as they are: a named row for each cluster or latent, say, under headings of columns.
///
/// Columns beside each other that have the same name share one heading and stand apart from others.
/// The picture is as large as its tiles make it.
/// Without a tile, the picture says so.
///
/// # Shapes
///
/// `rows`: each with as many tiles as there are `column_names`, all `[y, x, 3]` of one size.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) for a row with another number of tiles or a tile of another shape,
/// [`Error::Config`](crate::Error::Config) when a setting is out of range.
///
/// # Examples
///
/// ```
/// use ndarray::Array3;
/// use phenocoder_plot::{ContactSheetConfig, SheetRow, contact_sheet};
///
/// let tile = Some(Array3::from_elem((8, 8, 3), 90));
/// let rows = [SheetRow::new("cluster 0", vec![tile.clone(), tile, None]).with_note("120 cells")];
/// let columns = ["typical", "typical", "odd"];
/// let figure = contact_sheet(&rows, &columns, &ContactSheetConfig::default())?;
/// assert!(figure.to_svg()?.contains("120 cells"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
pub fn contact_sheet<S: AsRef<str>>(
    rows: &[SheetRow],
    column_names: &[S],
    config: &ContactSheetConfig,
) -> Result<Figure> {
    config.validate()?;
    let names: Vec<&str> = column_names.iter().map(AsRef::as_ref).collect();
    let Some((height, width)) = extent(rows, names.len())? else {
        let mut scene = Scene::new((360.0, 160.0), &config.title);
        let area = layout::below_title(&mut scene, &config.title);
        layout::note(&mut scene, &area, "no pictures");
        return Ok(Figure::new(scene));
    };
    let tile = (config.tile * width as f64 / height as f64, config.tile);
    let groups = groups(&names);
    let left = name_width(rows);
    let columns = places(&groups, left, tile.0);
    let right = columns.last().map_or(left, |x| x + tile.0);
    let entries = config.key.iter().map(|(name, _)| key_width(name));
    let right = entries.fold(right, f64::max);
    let key = key_lines(&config.key, right);
    let title_room = layout::title_room(&config.title);
    let body = HEAD + rows.len() as f64 * (tile.1 + GAP);
    let size = (
        layout::width_with_title(2.0 * MARGIN + right, &config.title),
        2.0 * MARGIN + title_room + body + key.len() as f64 * KEY_LINE,
    );
    let mut scene = Scene::new((size.0.ceil(), size.1.ceil()), &config.title);
    let area = layout::below_title(&mut scene, &config.title);
    headings(&mut scene, &area, &names, &groups, &columns, tile.0);
    for (i, row) in rows.iter().enumerate() {
        let y = area.y + HEAD + i as f64 * (tile.1 + GAP);
        row_name(&mut scene, (area.x, y), row, tile.1);
        for (x, picture) in columns.iter().zip(&row.tiles) {
            let frame = Frame::new(area.x + x, y, tile.0, tile.1);
            scene.push(picture_item(frame, picture.as_ref()));
        }
    }
    draw_key(&mut scene, (area.x, area.y + body), &config.key, &key);
    Ok(Figure::new(scene))
}

/// Rows and columns of the tiles; `None` without any tile or without a pixel.
fn extent(rows: &[SheetRow], columns: usize) -> Result<Option<(usize, usize)>> {
    let mut found = None;
    for row in rows {
        ShapeError::check_len(&format!("tiles of {}", row.name), columns, row.tiles.len())?;
        for tile in row.tiles.iter().flatten() {
            let (height, width, planes) = tile.dim();
            let (y, x) = *found.get_or_insert((height, width));
            if (height, width, planes) != (y, x, 3) {
                return Err(ShapeError::Array {
                    what: format!("tiles of {}", row.name),
                    expected: format!("[{y}, {x}, 3]"),
                    found: tile.shape().to_vec(),
                }
                .into());
            }
        }
    }
    Ok(found.filter(|(height, width)| height * width > 0))
}

/// Runs of columns of one name, as their first column and their number.
fn groups(names: &[&str]) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (column, name) in names.iter().enumerate() {
        match groups.last_mut() {
            Some((first, n)) if names[*first] == *name => *n += 1,
            _ => groups.push((column, 1)),
        }
    }
    groups
}

/// The left ends of the columns, counted from that of the names.
fn places(groups: &[(usize, usize)], left: f64, tile: f64) -> Vec<f64> {
    let several = groups.iter().any(|(_, n)| *n > 1);
    let apart = if several { GROUP_GAP } else { GAP };
    let mut places = Vec::new();
    let mut x = left;
    for (_, n) in groups {
        for _ in 0..*n {
            places.push(x);
            x += tile + GAP;
        }
        x += apart - GAP;
    }
    places
}

/// The width of the names and notes, with a gap behind them.
fn name_width(rows: &[SheetRow]) -> f64 {
    let texts = rows.iter().flat_map(|row| [&row.name, &row.note]);
    let widest = texts
        .map(|text| font::width(text, TICK_SIZE, Weight::Regular).min(NAME_MAX))
        .fold(0.0, f64::max);
    if widest > 0.0 { widest + 10.0 } else { 0.0 }
}

/// Writes the headings of the columns, one for each group.
fn headings(
    scene: &mut Scene,
    area: &Frame,
    names: &[&str],
    groups: &[(usize, usize)],
    columns: &[f64],
    tile: f64,
) {
    for &(first, n) in groups {
        let (x, end) = (columns[first], columns[first + n - 1] + tile);
        let name = font::fit(names[first], TICK_SIZE, Weight::Bold, end - x);
        let at = (area.x + (x + end) / 2.0, area.y + TICK_SIZE);
        scene.text(
            Text::new(at, name, TICK_SIZE)
                .bold()
                .anchored(Anchor::Middle),
        );
    }
}

/// Writes the name of a row and its note beside the middle of its tiles, where there is room for them.
fn row_name(scene: &mut Scene, (x, y): (f64, f64), row: &SheetRow, height: f64) {
    let size = TICK_SIZE.min(height * 0.9);
    let middle = y + height / 2.0;
    let with_note = !row.note.is_empty() && height >= 2.2 * size;
    let up = if with_note { 0.15 * size } else { -0.36 * size };
    let name = font::fit_middle(&row.name, size, Weight::Regular, NAME_MAX);
    scene.text(Text::new((x, middle - up), name, size));
    if with_note {
        let note = font::fit(&row.note, size, Weight::Regular, NAME_MAX);
        let at = (x, middle + size * 1.05);
        scene.text(Text::new(at, note, size).colored(Rgb::MUTED));
    }
}

/// The pixels of a tile, or an empty frame.
fn picture_item(frame: Frame, tile: Option<&Array3<u8>>) -> Item {
    let Some(tile) = tile else {
        return Item::Rect {
            frame,
            fill: None,
            stroke: Some((Rgb::GRID, 1.0)),
        };
    };
    let (rows, columns, _) = tile.dim();
    let color = |i: usize| {
        let (y, x) = (i / columns, i % columns);
        Rgb(tile[[y, x, 0]], tile[[y, x, 1]], tile[[y, x, 2]])
    };
    Item::Grid {
        frame,
        columns,
        rows,
        colors: (0..rows * columns).map(color).collect(),
    }
}

/// The width of an entry of the key.
fn key_width(name: &str) -> f64 {
    18.0 + font::width(name, TICK_SIZE, Weight::Regular).min(NAME_MAX) + 14.0
}

/// How many entries of the key stand in each of its lines of this width.
fn key_lines(key: &[(String, Rgb)], width: f64) -> Vec<usize> {
    let mut lines: Vec<usize> = Vec::new();
    let mut used = f64::INFINITY;
    for (name, _) in key {
        let entry = key_width(name);
        used += entry;
        match lines.last_mut() {
            Some(n) if used <= width => *n += 1,
            _ => {
                lines.push(1);
                used = entry;
            }
        }
    }
    lines
}

/// Draws the key to the colours.
fn draw_key(scene: &mut Scene, (left, top): (f64, f64), key: &[(String, Rgb)], lines: &[usize]) {
    let mut entries = key.iter();
    for (line, n) in lines.iter().enumerate() {
        let middle = top + (line as f64 + 0.5) * KEY_LINE + 2.0;
        let mut x = left;
        for (name, color) in entries.by_ref().take(*n) {
            scene.push(Item::Rect {
                frame: Frame::new(x + 1.0, middle - 5.0, 10.0, 10.0),
                fill: Some(*color),
                stroke: Some((Rgb::AXIS, 0.8)),
            });
            let text = font::fit_middle(name, TICK_SIZE, Weight::Regular, NAME_MAX);
            let at = (x + 16.0, middle + TICK_SIZE * 0.36);
            scene.text(Text::new(at, text, TICK_SIZE));
            x += key_width(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn tile(value: u8) -> Option<Array3<u8>> {
        Some(Array3::from_shape_fn((4, 6, 3), |(y, x, c)| {
            value + (y + x + c) as u8
        }))
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} and {b}");
    }

    /// The pictures of the scene with the colour of their first pixel.
    fn pictures(figure: &Figure) -> Vec<(Frame, Rgb)> {
        let items = figure.scene().items.iter();
        items
            .filter_map(|item| match item {
                Item::Grid { frame, colors, .. } => Some((*frame, colors[0])),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn every_tile_stands_in_its_row_and_column() {
        let rows = [
            SheetRow::new("a", vec![tile(10), tile(20), None]),
            SheetRow::new("b", vec![tile(30), tile(40), tile(50)]).with_note("few"),
        ];
        let config = ContactSheetConfig::default().with_tile(40.0);
        let figure = contact_sheet(&rows, &["typical", "typical", "odd"], &config).unwrap();
        let found = pictures(&figure);
        let first: Vec<Rgb> = found.iter().map(|(_, color)| *color).collect();
        assert_eq!(
            first,
            [10, 20, 30, 40, 50].map(|v: u8| Rgb(v, v + 1, v + 2))
        );
        let frame = |i: usize| found[i].0;
        assert_eq!((frame(0).width, frame(0).height), (60.0, 40.0));
        close(frame(1).x - frame(0).x, 60.0 + GAP);
        close(frame(4).x - frame(3).x, 60.0 + GROUP_GAP);
        assert_eq!(frame(2).x, frame(0).x);
        close(frame(2).y - frame(0).y, 40.0 + GAP);
        let svg = figure.to_svg().unwrap();
        assert_eq!(svg.matches(">typical<").count(), 1, "one heading for both");
    }

    #[test]
    fn columns_of_different_names_stand_close_together() {
        let rows = [SheetRow::new("a", vec![tile(0), tile(1)])];
        let figure = contact_sheet(&rows, &["−1 sd", "mean"], &ContactSheetConfig::default());
        let found = pictures(&figure.unwrap());
        close(found[1].0.x - found[0].0.right(), GAP);
    }

    #[test]
    fn the_key_is_wrapped_and_stands_within_the_picture() {
        let name = |i: usize| format!("channel {i}");
        let key: Vec<(String, Rgb)> = (0..9).map(|i| (name(i), Rgb(i as u8, 0, 0))).collect();
        let rows = [SheetRow::new("a", vec![tile(0); 4])];
        let config = ContactSheetConfig::default().with_key(key);
        let figure = contact_sheet(&rows, &["", "", "", ""], &config).unwrap();
        let (width, height) = figure.size();
        let mut lines = 0;
        let mut last = 0.0;
        for item in &figure.scene().items {
            if let Item::Text(text) = item {
                let end = text.at.0 + font::width(&text.text, text.size, Weight::Regular);
                assert!(end <= width && text.at.1 <= height, "{}", text.text);
                lines += usize::from(text.text.starts_with("channel") && text.at.1 > last);
                last = text.at.1;
            }
        }
        assert!(lines > 1, "{lines}");
        let svg = figure.to_svg().unwrap();
        assert!((0..9).all(|i| svg.contains(&name(i))));
    }

    #[test]
    fn tiles_that_do_not_fit_together_are_refused() {
        let config = ContactSheetConfig::default();
        let draw = |tiles| contact_sheet(&[SheetRow::new("of a", tiles)], &["x", "y"], &config);
        for tiles in [
            vec![tile(0)],
            vec![tile(0), Some(Array3::zeros((4, 5, 3)))],
            vec![None, Some(Array3::zeros((4, 6, 1)))],
        ] {
            let refused = draw(tiles).unwrap_err();
            assert!(matches!(refused, Error::Shape(_)), "{refused}");
            assert!(refused.to_string().contains("of a"), "{refused}");
        }
        let config = ContactSheetConfig::default().with_tile(f64::NAN);
        let refused = contact_sheet(&[], &["x"], &config);
        assert!(matches!(refused, Err(Error::Config(_))));
    }

    #[test]
    fn a_sheet_without_tiles_says_so() {
        for rows in [vec![], vec![SheetRow::new("a", vec![None, None])]] {
            let figure = contact_sheet(&rows, &["x", "y"], &ContactSheetConfig::default());
            assert!(figure.unwrap().to_svg().unwrap().contains("no pictures"));
        }
    }
}
