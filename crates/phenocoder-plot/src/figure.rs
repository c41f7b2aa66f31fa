//! A picture that can be drawn as PNG and as SVG.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io, process};

use crate::layout::{self, TITLE_ROOM};
use crate::scene::{Item, Scene};
use crate::{Error, Result, raster, svg};

/// Pixels per point in files written by [`Figure::write`].
const FILE_SCALE: f64 = 2.0;

/// Names that [`write_whole`] tries: writers that were killed leave their files.
const MOST_NAMES: usize = 10_000;

/// A laid-out picture.
///
/// Nothing is drawn before one of the methods below is called; the same picture gives the same bytes each time, on every
/// machine with the same version of this crate.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_plot::{ColorBy, ScatterConfig, scatter};
///
/// let points = array![[0.0, 0.0], [1.0, 2.0]];
/// let figure = scatter(points.view(), ColorBy::None, &ScatterConfig::default())?;
/// assert!(figure.to_png(1.0)?.starts_with(b"\x89PNG"));
/// assert!(figure.to_svg()?.starts_with("<svg"));
/// # Ok::<(), phenocoder_plot::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    scene: Scene,
}

impl Figure {
    pub(crate) fn new(scene: Scene) -> Self {
        Self { scene }
    }

    #[cfg(test)]
    pub(crate) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The width and the height at scale 1, in points of 1/96 inch.
    #[must_use]
    pub fn size(&self) -> (f64, f64) {
        (self.scene.width, self.scene.height)
    }

    /// This picture with another below it, their left edges in line.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_plot::{ColorBy, ScatterConfig, scatter};
    ///
    /// let points = array![[0.0, 0.0], [1.0, 2.0]];
    /// let draw = |title| scatter(points.view(), ColorBy::None, &ScatterConfig::default().with_title(title));
    /// let both = draw("by batch")?.above(draw("by type")?);
    /// assert_eq!(both.size(), (720.0, 1080.0));
    /// # Ok::<(), phenocoder_plot::Error>(())
    /// ```
    #[must_use]
    pub fn above(self, below: Self) -> Self {
        let at = (0.0, self.scene.height);
        self.with_at(below, at)
    }

    /// This picture with another to its right, their top edges in line.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_plot::{ColorBy, ScatterConfig, scatter};
    ///
    /// let points = array![[0.0, 0.0], [1.0, 2.0]];
    /// let draw = |title| scatter(points.view(), ColorBy::None, &ScatterConfig::default().with_title(title));
    /// let both = draw("cluster")?.beside(draw("truth")?);
    /// assert_eq!(both.size(), (1440.0, 540.0));
    /// # Ok::<(), phenocoder_plot::Error>(())
    /// ```
    #[must_use]
    pub fn beside(self, right: Self) -> Self {
        let at = (self.scene.width, 0.0);
        self.with_at(right, at)
    }

    /// This picture with another whose upper left corner lies at `at`.
    fn with_at(self, other: Self, at: (f64, f64)) -> Self {
        let (first, other) = (self.scene, other.scene);
        let title = [first.title.as_str(), other.title.as_str()]
            .into_iter()
            .filter(|title| !title.is_empty())
            .collect::<Vec<_>>()
            .join(", ");
        Self::new(Scene {
            width: first.width.max(at.0 + other.width),
            height: first.height.max(at.1 + other.height),
            title,
            items: vec![
                Item::Group {
                    offset: (0.0, 0.0),
                    items: first.items,
                },
                Item::Group {
                    offset: at,
                    items: other.items,
                },
            ],
        })
    }

    /// This picture below a heading, which readers that cannot see it are told as well; it grows by the heading's room.
    ///
    /// It is for pictures without a heading of their own: that of a picture that has one would stand below the other.
    /// An empty heading changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_plot::{Curve, CurvesConfig, curves};
    ///
    /// let loss = [Curve::over_epochs("training", vec![3.0, 2.0])];
    /// let figure = curves(&loss, &CurvesConfig::default())?;
    /// let headed = figure.clone().with_title("Training");
    /// assert!(headed.size().1 > figure.size().1);
    /// assert!(headed.to_svg()?.contains("<title>Training</title>"));
    /// # Ok::<(), phenocoder_plot::Error>(())
    /// ```
    #[must_use]
    pub fn with_title(self, title: &str) -> Self {
        if title.is_empty() {
            return self;
        }
        let below = self.scene;
        let width = layout::width_with_title(below.width, title);
        let mut scene = Scene::new((width, below.height + TITLE_ROOM), title);
        layout::below_title(&mut scene, title);
        scene.push(Item::Group {
            offset: (0.0, TITLE_ROOM),
            items: below.items,
        });
        Self::new(scene)
    }

    /// The picture as a PNG file with `scale` pixels per point: 1 for a screen, 2 for a slide, 4 for print.
    ///
    /// # Errors
    ///
    /// [`Error::PixelSize`] when a side has no pixels, or more than 32767.
    pub fn to_png(&self, scale: f64) -> Result<Vec<u8>> {
        let pixels = raster::draw(&self.scene, scale)?;
        raster::encode(&pixels, Some(scale))
    }

    /// The picture as an SVG file, its text as text.
    ///
    /// Groups of more than 8000 markers and large images are embedded as pixels, so that the file stays quick to open.
    ///
    /// # Errors
    ///
    /// [`Error::PixelSize`] when such an embedded image would have a side of more than 32767 pixels.
    pub fn to_svg(&self) -> Result<String> {
        svg::write(&self.scene)
    }

    /// Writes the picture as PNG (2 pixels per point) or SVG, as the extension of `path` says.
    ///
    /// The file appears whole or not at all: it is written beside its place first and then renamed.
    ///
    /// # Errors
    ///
    /// [`Error::Extension`] for another extension, [`Error::Write`] when the file system refuses, and what
    /// [`to_png`](Self::to_png) and [`to_svg`](Self::to_svg) return.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let is = |extension: &str| {
            path.extension()
                .is_some_and(|found| found.eq_ignore_ascii_case(extension))
        };
        let bytes = if is("png") {
            self.to_png(FILE_SCALE)?
        } else if is("svg") {
            self.to_svg()?.into_bytes()
        } else {
            return Err(Error::Extension {
                path: path.to_owned(),
            });
        };
        write_whole(path, &bytes).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// Writes a file to a name beside its place that nothing has, then renames it: a reader never meets half a file, and of several
/// writers, on several machines too, the last to end has the place.
///
/// Nothing is left behind where that fails; a process that is killed leaves its file, which no other writer takes.
///
/// # Errors
///
/// What the file system says.
#[doc(hidden)]
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = new_beside(path)?;
    let written = file.write_all(bytes);
    // Not every system renames what is open.
    drop(file);
    let written = written.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A new file beside this place: the number of the process alone is that of others on other machines.
fn new_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let place = path.file_name().unwrap_or(OsStr::new("picture"));
    let mut left = MOST_NAMES;
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut name = OsString::from(".");
        name.push(place);
        name.push(format!(".{}-{count}.tmp", process::id()));
        let temporary = path.with_file_name(name);
        left -= 1;
        match File::create_new(&temporary) {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (temporary, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_writers_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let of_other = |n: usize| {
            let name = format!(".a.png.{}-{n}.tmp", process::id());
            folder.path().join(name)
        };
        // As by a writer of the same number in another container.
        for n in 0..100 {
            fs::write(of_other(n), "other").unwrap();
        }
        write_whole(&path, b"own").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "own");
        for n in 0..100 {
            assert_eq!(fs::read_to_string(of_other(n)).unwrap(), "other");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 101);
    }
}
