//! A picture as a list of things to draw, in the order in which they are drawn.
//!
//! Lengths are in points of the picture at scale 1, `y` points down.

use crate::color::Rgb;
use crate::font::Weight;

/// A place in the picture.
pub(crate) type Point = (f64, f64);

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Frame {
    pub(crate) const fn new(x: f64, y: f64, width: f64, height: f64) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    pub(crate) fn right(&self) -> f64 {
        self.x + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.y + self.height
    }

    pub(crate) fn center(&self) -> Point {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// The area that two rectangles share.
    pub(crate) fn overlap(&self, other: &Self) -> f64 {
        let side = |a0: f64, a1: f64, b0: f64, b1: f64| (a1.min(b1) - a0.max(b0)).max(0.0);
        side(self.x, self.right(), other.x, other.right())
            * side(self.y, self.bottom(), other.y, other.bottom())
    }

    /// The part of this rectangle's area that lies outside `other`.
    pub(crate) fn outside(&self, other: &Self) -> f64 {
        (self.width * self.height - self.overlap(other)).max(0.0)
    }
}

/// Which part of a text stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text on one line; `at` is on the base line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub(crate) at: Point,
    pub(crate) text: String,
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) anchor: Anchor,
    pub(crate) color: Rgb,
    /// Degrees, clockwise.
    pub(crate) rotation: f64,
    /// Width of a white outline below the letters, which keeps them legible on top of points.
    pub(crate) halo: f64,
}

impl Text {
    pub(crate) fn new(at: Point, text: impl Into<String>, size: f64) -> Self {
        Self {
            at,
            text: text.into(),
            size,
            weight: Weight::Regular,
            anchor: Anchor::Start,
            color: Rgb::TEXT,
            rotation: 0.0,
            halo: 0.0,
        }
    }

    pub(crate) fn bold(mut self) -> Self {
        self.weight = Weight::Bold;
        self
    }

    pub(crate) fn anchored(mut self, anchor: Anchor) -> Self {
        self.anchor = anchor;
        self
    }

    pub(crate) fn colored(mut self, color: Rgb) -> Self {
        self.color = color;
        self
    }

    pub(crate) fn rotated(mut self, degrees: f64) -> Self {
        self.rotation = degrees;
        self
    }

    pub(crate) fn with_halo(mut self, width: f64) -> Self {
        self.halo = width;
        self
    }
}

/// The form of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    Plus,
}

impl Shape {
    const ALL: [Self; 6] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Diamond,
        Self::TriangleDown,
        Self::Plus,
    ];

    /// The `i`-th form, from the start again after the last.
    pub(crate) fn nth(i: usize) -> Self {
        Self::ALL[i % Self::ALL.len()]
    }

    /// The corners around `center`, of about the area of a circle of this radius; none for a circle.
    pub(crate) fn corners(self, (x, y): Point, radius: f64) -> Vec<Point> {
        let offsets: &[Point] = match self {
            Self::Circle => &[],
            Self::Square => &[(-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)],
            Self::Triangle => &[(0.0, -1.30), (1.13, 0.70), (-1.13, 0.70)],
            Self::TriangleDown => &[(0.0, 1.30), (-1.13, -0.70), (1.13, -0.70)],
            Self::Diamond => &[(0.0, -1.28), (1.28, 0.0), (0.0, 1.28), (-1.28, 0.0)],
            Self::Plus => &[
                (-0.38, -1.2),
                (0.38, -1.2),
                (0.38, -0.38),
                (1.2, -0.38),
                (1.2, 0.38),
                (0.38, 0.38),
                (0.38, 1.2),
                (-0.38, 1.2),
                (-0.38, 0.38),
                (-1.2, 0.38),
                (-1.2, -0.38),
                (-0.38, -0.38),
            ],
        };
        offsets
            .iter()
            .map(|(dx, dy)| (x + dx * radius, y + dy * radius))
            .collect()
    }
}

/// One marker of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Marker {
    pub(crate) at: Point,
    pub(crate) shape: Shape,
    pub(crate) color: Rgb,
}

/// Markers of one size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Markers {
    pub(crate) markers: Vec<Marker>,
    pub(crate) radius: f64,
    pub(crate) alpha: f64,
    /// Width of a white outline, 0 for none.
    pub(crate) outline: f64,
}

/// One thing to draw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Rect {
        frame: Frame,
        fill: Option<Rgb>,
        stroke: Option<(Rgb, f64)>,
    },
    Line {
        points: Vec<Point>,
        color: Rgb,
        width: f64,
        dash: Option<(f64, f64)>,
    },
    Polygon {
        points: Vec<Point>,
        fill: Rgb,
    },
    Text(Text),
    Markers(Markers),
    /// Colours in equal rectangles, row by row from the top left.
    Grid {
        frame: Frame,
        columns: usize,
        rows: usize,
        colors: Vec<Rgb>,
    },
    /// Items moved to another place.
    Group {
        offset: Point,
        items: Vec<Item>,
    },
}

/// A whole picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// What the picture shows, for readers that cannot see it.
    pub(crate) title: String,
    pub(crate) items: Vec<Item>,
}

impl Scene {
    pub(crate) fn new((width, height): (f64, f64), title: &str) -> Self {
        Self {
            width,
            height,
            title: title.to_owned(),
            items: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    pub(crate) fn text(&mut self, text: Text) {
        if !text.text.is_empty() {
            self.items.push(Item::Text(text));
        }
    }

    pub(crate) fn line(&mut self, points: Vec<Point>, color: Rgb, width: f64) {
        self.items.push(Item::Line {
            points,
            color,
            width,
            dash: None,
        });
    }

    pub(crate) fn marker(&mut self, at: Point, shape: Shape, color: Rgb, radius: f64) {
        self.items.push(Item::Markers(Markers {
            markers: vec![Marker { at, shape, color }],
            radius,
            alpha: 1.0,
            outline: 0.0,
        }));
    }
}
