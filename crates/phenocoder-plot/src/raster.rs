//! Scenes as pixels.

use ndarray::{ArrayView2, ArrayView3};
use phenocoder_core::ShapeError;
use png::{BitDepth, ColorType, Encoder, PixelDimensions, Unit};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};

use crate::color::Rgb;
use crate::font;
use crate::scene::{Anchor, Frame, Item, Markers, Point, Scene, Shape, Text};
use crate::{Error, Result};

/// The longest side of a picture.
pub(crate) const MAX_SIDE: u32 = 32_767;

/// An empty image of this size in points.
fn canvas(width: f64, height: f64, scale: f64) -> Result<Pixmap> {
    let side = |length: f64| (length * scale).round();
    let (width, height) = (side(width), side(height));
    let fits = |side: f64| (1.0..=f64::from(MAX_SIDE)).contains(&side);
    let refused = || Error::PixelSize {
        width,
        height,
        max: MAX_SIDE,
    };
    if !(fits(width) && fits(height)) {
        return Err(refused());
    }
    Pixmap::new(width as u32, height as u32).ok_or_else(refused)
}

/// The scene on white.
pub(crate) fn draw(scene: &Scene, scale: f64) -> Result<Pixmap> {
    let mut target = Target {
        pixels: canvas(scene.width, scene.height, scale)?,
        scale,
        offset: (0.0, 0.0),
    };
    target.pixels.fill(Color::WHITE);
    target.items(&scene.items);
    Ok(target.pixels)
}

/// Part of a scene on a transparent background: what lies in `frame`.
pub(crate) fn draw_part(item: &Item, frame: &Frame, scale: f64) -> Result<Pixmap> {
    let mut target = Target {
        pixels: canvas(frame.width, frame.height, scale)?,
        scale,
        offset: (-frame.x, -frame.y),
    };
    target.items(std::slice::from_ref(item));
    Ok(target.pixels)
}

/// The pixels as a PNG file; `scale` tells the printed size.
pub(crate) fn encode(pixels: &Pixmap, scale: Option<f64>) -> Result<Vec<u8>> {
    let opaque = pixels.pixels().iter().all(|pixel| pixel.alpha() == 255);
    let mut data = Vec::with_capacity(pixels.data().len());
    for pixel in pixels.pixels() {
        let color = pixel.demultiply();
        data.extend_from_slice(&[color.red(), color.green(), color.blue()]);
        if !opaque {
            data.push(color.alpha());
        }
    }
    let color = if opaque {
        ColorType::Rgb
    } else {
        ColorType::Rgba
    };
    write_png((pixels.width(), pixels.height()), color, &data, scale)
}

/// Rows of pixels as a PNG file.
fn write_png(
    (width, height): (u32, u32),
    color: ColorType,
    data: &[u8],
    scale: Option<f64>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_color(color);
    if let Some(scale) = scale {
        // 96 points to the inch of 0.0254 m.
        let per_meter = (scale * 96.0 / 0.0254).round() as u32;
        encoder.set_pixel_dims(Some(PixelDimensions {
            xppu: per_meter,
            yppu: per_meter,
            unit: Unit::Meter,
        }));
    }
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(data)?;
            writer.finish()
        })
        .map_err(|source| Error::Encode {
            source: Box::new(source),
        })?;
    Ok(bytes)
}

/// Pixels as a PNG file, without anything around them: an image of three channels, or three channels of patches at once.
///
/// The values are those of the file, to the bit.
///
/// # Shapes
///
/// `pixels`: `[y, x, 3]`.
///
/// # Examples
///
/// ```
/// use ndarray::Array3;
/// use phenocoder_plot::png_rgb8;
///
/// let pixels = Array3::from_shape_fn((2, 4, 3), |(y, x, c)| (y + 10 * x + 100 * c) as u8);
/// assert!(png_rgb8(pixels.view())?.starts_with(b"\x89PNG"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] when there are not three channels, [`Error::PixelSize`] when a side has no pixels, or more than 32767.
pub fn png_rgb8(pixels: ArrayView3<'_, u8>) -> Result<Vec<u8>> {
    let (height, width, channels) = pixels.dim();
    if channels != 3 {
        return Err(ShapeError::Array {
            what: "pixels".to_owned(),
            expected: "[y, x, 3]".to_owned(),
            found: pixels.shape().to_vec(),
        }
        .into());
    }
    let data: Vec<u8> = pixels.iter().copied().collect();
    write_png(sides(width, height)?, ColorType::Rgb, &data, None)
}

/// Pixels of one channel as a PNG file; see [`png_rgb8`].
///
/// # Shapes
///
/// `pixels`: `[y, x]`.
///
/// # Errors
///
/// [`Error::PixelSize`] when a side has no pixels, or more than 32767.
pub fn png_grey8(pixels: ArrayView2<'_, u8>) -> Result<Vec<u8>> {
    let (height, width) = pixels.dim();
    let data: Vec<u8> = pixels.iter().copied().collect();
    write_png(sides(width, height)?, ColorType::Grayscale, &data, None)
}

/// Width and height, if a picture may have them.
fn sides(width: usize, height: usize) -> Result<(u32, u32)> {
    let side = |n: usize| {
        u32::try_from(n)
            .ok()
            .filter(|side| (1..=MAX_SIDE).contains(side))
    };
    side(width)
        .zip(side(height))
        .ok_or_else(|| Error::PixelSize {
            width: width as f64,
            height: height as f64,
            max: MAX_SIDE,
        })
}

/// Where drawing goes.
struct Target {
    pixels: Pixmap,
    scale: f64,
    offset: Point,
}

impl Target {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Rect {
                frame,
                fill,
                stroke,
            } => self.rect(frame, *fill, *stroke),
            Item::Line {
                points,
                color,
                width,
                dash,
            } => self.line(points, *color, *width, *dash),
            Item::Polygon { points, fill } => self.polygon(points, &paint(*fill, 1.0)),
            Item::Text(text) => self.text(text),
            Item::Markers(markers) => self.markers(markers),
            Item::Grid {
                frame,
                columns,
                rows,
                colors,
            } => self.grid(frame, *columns, *rows, colors),
            Item::Group { offset, items } => {
                let before = self.offset;
                self.offset = (before.0 + offset.0, before.1 + offset.1);
                self.items(items);
                self.offset = before;
            }
        }
    }

    /// The pixel coordinates of a place.
    fn place(&self, (x, y): Point) -> Point {
        (
            (x + self.offset.0) * self.scale,
            (y + self.offset.1) * self.scale,
        )
    }

    fn path(&self, points: &[Point], close: bool) -> Option<Path> {
        let mut builder = PathBuilder::new();
        for (i, &point) in points.iter().enumerate() {
            let (x, y) = self.place(point);
            if i == 0 {
                builder.move_to(x as f32, y as f32);
            } else {
                builder.line_to(x as f32, y as f32);
            }
        }
        if close {
            builder.close();
        }
        builder.finish()
    }

    fn polygon(&mut self, points: &[Point], paint: &Paint<'_>) {
        if let Some(path) = self.path(points, true) {
            self.pixels
                .fill_path(&path, paint, FillRule::Winding, Transform::identity(), None);
        }
    }

    fn rect(&mut self, frame: &Frame, fill: Option<Rgb>, stroke: Option<(Rgb, f64)>) {
        let (x0, y0) = self.place((frame.x, frame.y));
        let (x1, y1) = self.place((frame.right(), frame.bottom()));
        if let Some(fill) = fill {
            let rect = Rect::from_ltrb(x0 as f32, y0 as f32, x1 as f32, y1 as f32);
            if let Some(rect) = rect {
                self.pixels
                    .fill_rect(rect, &paint(fill, 1.0), Transform::identity(), None);
            }
        }
        if let Some((color, width)) = stroke {
            let corners = [
                (frame.x, frame.y),
                (frame.right(), frame.y),
                (frame.right(), frame.bottom()),
                (frame.x, frame.bottom()),
            ];
            if let Some(path) = self.path(&corners, true) {
                let stroke = Stroke {
                    width: (width * self.scale) as f32,
                    ..Stroke::default()
                };
                self.pixels.stroke_path(
                    &path,
                    &paint(color, 1.0),
                    &stroke,
                    Transform::identity(),
                    None,
                );
            }
        }
    }

    fn line(&mut self, points: &[Point], color: Rgb, width: f64, dash: Option<(f64, f64)>) {
        let Some(path) = self.path(points, false) else {
            return;
        };
        let dash = dash.and_then(|(on, off)| {
            let length = |x: f64| (x * self.scale) as f32;
            StrokeDash::new(vec![length(on), length(off)], 0.0)
        });
        let stroke = Stroke {
            width: (width * self.scale) as f32,
            line_cap: if dash.is_some() {
                LineCap::Butt
            } else {
                LineCap::Square
            },
            line_join: LineJoin::Round,
            dash,
            ..Stroke::default()
        };
        self.pixels.stroke_path(
            &path,
            &paint(color, 1.0),
            &stroke,
            Transform::identity(),
            None,
        );
    }

    fn text(&mut self, text: &Text) {
        let mut outline = Outline(PathBuilder::new());
        let size = text.size * self.scale;
        font::outline(&text.text, size, text.weight, &mut outline);
        let Some(path) = outline.0.finish() else {
            return;
        };
        let shift = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -0.5,
            Anchor::End => -1.0,
        } * font::width(&text.text, size, text.weight);
        let (x, y) = self.place(text.at);
        let transform = Transform::from_translate(shift as f32, 0.0)
            .post_scale(1.0, -1.0)
            .post_rotate(text.rotation as f32)
            .post_translate(x as f32, y as f32);
        if text.halo > 0.0 {
            let stroke = Stroke {
                width: (2.0 * text.halo * self.scale) as f32,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            self.pixels
                .stroke_path(&path, &paint(Rgb::WHITE, 0.85), &stroke, transform, None);
        }
        self.pixels.fill_path(
            &path,
            &paint(text.color, 1.0),
            FillRule::Winding,
            transform,
            None,
        );
    }

    fn markers(&mut self, group: &Markers) {
        let outer = group.radius + group.outline;
        for marker in &group.markers {
            if group.outline > 0.0 {
                self.marker(marker.at, marker.shape, outer, Rgb::WHITE, 1.0);
            }
            self.marker(
                marker.at,
                marker.shape,
                group.radius,
                marker.color,
                group.alpha,
            );
        }
    }

    fn marker(&mut self, at: Point, shape: Shape, radius: f64, color: Rgb, alpha: f64) {
        if shape == Shape::Circle {
            self.disk(at, radius, color, alpha);
        } else {
            self.polygon(&shape.corners(at, radius), &paint(color, alpha));
        }
    }

    /// A disk by the distance of each pixel to its rim: ten times quicker than a path, which counts for 10⁵ cells.
    fn disk(&mut self, at: Point, radius: f64, color: Rgb, alpha: f64) {
        let (cx, cy) = self.place(at);
        let radius = radius * self.scale;
        let (width, height) = (self.pixels.width() as usize, self.pixels.height() as usize);
        let from = |center: f64| (center - radius - 1.0).floor().max(0.0) as usize;
        let to =
            |center: f64, side: usize| ((center + radius + 1.0).ceil().max(0.0) as usize).min(side);
        // A disk smaller than a pixel keeps its area.
        let weight = (radius / 0.5).min(1.0).powi(2);
        // The rim of one pixel's width adds π/12 to the area.
        let radius = (radius.max(0.5).powi(2) - 1.0 / 12.0).sqrt();
        let channels = [color.0, color.1, color.2, 255].map(f64::from);
        let data = self.pixels.data_mut();
        for y in from(cy)..to(cy, height) {
            for x in from(cx)..to(cx, width) {
                let distance = (x as f64 + 0.5 - cx).hypot(y as f64 + 0.5 - cy);
                let cover = (radius + 0.5 - distance).clamp(0.0, 1.0) * alpha * weight;
                if cover > 0.0 {
                    let pixel = &mut data[4 * (y * width + x)..][..4];
                    for (old, new) in pixel.iter_mut().zip(channels) {
                        *old = (f64::from(*old) * (1.0 - cover) + new * cover).round() as u8;
                    }
                }
            }
        }
    }

    /// Rectangles with sharp edges; where several share a pixel it takes their mean.
    fn grid(&mut self, frame: &Frame, columns: usize, rows: usize, colors: &[Rgb]) {
        if columns == 0 || rows == 0 {
            return;
        }
        let (x0, y0) = self.place((frame.x, frame.y));
        let (x1, y1) = self.place((frame.right(), frame.bottom()));
        let width = self.pixels.width() as usize;
        let across = spans(x0, x1, columns, width);
        let down = spans(y0, y1, rows, self.pixels.height() as usize);
        let data = self.pixels.data_mut();
        for (y, cells_down) in down {
            for (x, cells_across) in &across {
                let mut sum = [0_u32; 3];
                for row in cells_down.clone() {
                    for column in cells_across.clone() {
                        let color = colors[row * columns + column];
                        for (sum, c) in sum.iter_mut().zip([color.0, color.1, color.2]) {
                            *sum += u32::from(c);
                        }
                    }
                }
                let n = (cells_down.len() * cells_across.len()) as u32;
                let pixel = &mut data[4 * (y * width + x)..][..4];
                for (slot, sum) in pixel.iter_mut().zip(sum) {
                    *slot = ((sum + n / 2) / n) as u8;
                }
                pixel[3] = 255;
            }
        }
    }
}

/// The pixels from `start` to `end`, each with the cells that it shows.
fn spans(start: f64, end: f64, cells: usize, side: usize) -> Vec<(usize, std::ops::Range<usize>)> {
    let (start, end) = (start.round().max(0.0), end.round().min(side as f64));
    let per_pixel = cells as f64 / (end - start).max(1.0);
    (start as usize..end.max(0.0) as usize)
        .enumerate()
        .map(|(i, pixel)| {
            let (a, b) = (i as f64 * per_pixel, (i as f64 + 1.0) * per_pixel);
            let span = if per_pixel <= 1.0 {
                let cell = ((a + b) / 2.0) as usize;
                cell..cell + 1
            } else {
                a as usize..(b.ceil() as usize).min(cells)
            };
            (pixel, span)
        })
        .collect()
}

fn paint(color: Rgb, alpha: f64) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(color.0, color.1, color.2, (alpha * 255.0).round() as u8);
    paint.anti_alias = true;
    paint
}

/// A glyph outline as a path.
struct Outline(PathBuilder);

impl ttf_parser::OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_a_grid_is_shown_when_there_are_more_cells_than_pixels() {
        let spans = spans(2.0, 5.0, 10, 100);
        assert_eq!(spans[0], (2, 0..4));
        assert_eq!(spans[2], (4, 6..10));
    }

    #[test]
    fn a_disk_covers_its_area() {
        let mut target = Target {
            pixels: canvas(20.0, 20.0, 1.0).unwrap(),
            scale: 1.0,
            offset: (0.0, 0.0),
        };
        for radius in [0.25, 2.0, 5.0] {
            target.pixels.fill(Color::TRANSPARENT);
            target.disk((10.2, 9.7), radius, Rgb::TEXT, 1.0);
            let alpha: u32 = target
                .pixels
                .pixels()
                .iter()
                .map(|p| u32::from(p.alpha()))
                .sum();
            let area = f64::from(alpha) / 255.0;
            let expected = std::f64::consts::PI * radius * radius;
            assert!(
                (area / expected - 1.0).abs() < 0.12,
                "{area} for {expected}"
            );
        }
    }
}
