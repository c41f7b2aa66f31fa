//! The metadata and chunks of a new image or mask.

use std::ops::Range;
use std::sync::Arc;

use phenocoder_core::{DataType, ImageRegion, ImageShape, Progress};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::pixels::Pixels;
use super::pyramid::{Factors, Pyramid, Reduction, reduce};
use crate::array::{ArraySpec, ArrayWriter, Bytes, ElementType, Window, ZarrArray, encode_index};
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::ome::raster::Raster;
use crate::root::Root;
use crate::store::ElementKind;
use crate::transform::{self, Transformation};
use crate::{Error, OpenOptions, Result, path};

/// What goes into the group's metadata beside the axes and levels.
pub(crate) struct GroupMetadata {
    pub(crate) scale: Option<[f64; 3]>,
    pub(crate) transformations: Option<Vec<Transformation>>,
    /// `None` for a mask.
    pub(crate) omero: Option<Value>,
}

/// The axes, levels and chunks of a new image or mask.
pub(crate) struct Layout<'a> {
    pub(crate) name: &'a str,
    pub(crate) axes: &'a [&'a str],
    pub(crate) format: ZarrFormat,
    data_type: DataType,
    shape: ImageShape,
    chunk: ImageShape,
    shard: Option<ImageShape>,
    coarser: Vec<(ImageShape, Coarser)>,
}

/// Where the pixels of a coarser level come from.
enum Coarser {
    /// The level before.
    Reduced(Factors),
    /// A level of what is copied.
    Copied(Raster),
}

impl<'a> Layout<'a> {
    pub(crate) fn new(
        name: &'a str,
        axes: &'a [&'a str],
        format: ZarrFormat,
        pixels: &dyn Pixels,
        [chunks, shards]: [Option<ImageShape>; 2],
        pyramid: &Pyramid,
    ) -> Result<Self> {
        let (shape, data_type) = (pixels.shape(), pixels.data_type());
        // Along an axis that is not stored there is one pixel.
        let stored = |extent: ImageShape| {
            let along = |axis: &str, n: usize| if axes.contains(&axis) { n } else { 1 };
            ImageShape::new(
                along("c", extent.c),
                along("z", extent.z),
                extent.y,
                extent.x,
            )
        };
        let chunks = stored(chunks.unwrap_or(ImageShape::new(1, 1, 1024, 1024)));
        let shards = shards.map(stored);
        if [shape.c, shape.z, shape.y, shape.x].contains(&0) {
            return Err(Error::invalid(
                name,
                "at least one pixel",
                format!("{shape:?}"),
            ));
        }
        if [chunks.c, chunks.z, chunks.y, chunks.x].contains(&0) {
            return Err(Error::Config {
                name: "chunks",
                problem: "each length must be at least 1".to_owned(),
            });
        }
        // Shards divide into chunks that are all alike, also where these are larger than the image.
        let chunk = match shards {
            Some(shard) if is_multiple(shard, chunks) => chunks,
            _ => within(chunks, shape),
        };
        let bytes = chunk
            .region()
            .checked_len()
            .and_then(|n| n.checked_mul(data_type.size()));
        if bytes.is_none_or(|bytes| bytes > (1 << 30)) {
            return Err(Error::Config {
                name: "chunks",
                problem: "a chunk must not have more than 1 GiB".to_owned(),
            });
        }
        if let Some(shard) = shards {
            check_shard(shard, chunk, data_type, format)?;
        }
        let coarser = if *pyramid == Pyramid::Copied {
            let levels = pixels.coarser()?.into_iter();
            levels
                .map(|level| (level.shape(), Coarser::Copied(level)))
                .collect()
        } else {
            let levels = pyramid.levels(shape)?.into_iter();
            levels
                .map(|(shape, factors)| (shape, Coarser::Reduced(factors)))
                .collect()
        };
        Ok(Self {
            name,
            axes,
            format,
            data_type,
            shape,
            chunk,
            shard: shards,
            coarser,
        })
    }

    /// The lengths along the stored axes.
    fn along(&self, shape: ImageShape) -> Vec<u64> {
        self.axes
            .iter()
            .map(|axis| match *axis {
                "c" => shape.c,
                "z" => shape.z,
                "y" => shape.y,
                _ => shape.x,
            } as u64)
            .collect()
    }

    pub(crate) fn write_group(&self, place: &Place, metadata: GroupMetadata) -> Result<()> {
        let [z, y, x] = metadata.scale.unwrap_or([1.0; 3]);
        let factors: Vec<f64> = self
            .axes
            .iter()
            .map(|axis| match *axis {
                "c" => 1.0,
                "z" => z,
                "y" => y,
                _ => x,
            })
            .collect();
        if factors.iter().any(|f| !f.is_finite() || *f <= 0.0) {
            return Err(Error::Config {
                name: "scale",
                problem: "each length must be a positive number".to_owned(),
            });
        }
        let axes: Vec<Value> = self
            .axes
            .iter()
            .map(|axis| match *axis {
                "c" => json!({"name": axis, "type": "channel"}),
                _ => json!({"name": axis, "type": "space", "unit": "unit"}),
            })
            .collect();
        let transformations = match metadata.transformations {
            Some(list) if list.is_empty() => {
                return Err(Error::Config {
                    name: "transformations",
                    problem: "there must be one at least".to_owned(),
                });
            }
            Some(list) => list,
            None => vec![Transformation::scale(self.axes, &factors, "global")?],
        };
        let kind = match metadata.omero {
            Some(_) => ElementKind::Image,
            None => ElementKind::Labels,
        };
        let key = path::child(kind.group(), self.name);
        // Maps need not say what becomes of channels or planes.
        let transformations = transform::write_all(&key, &transformations, &["x", "y"])?;
        let finest = self.along(self.shape);
        let shapes = self.coarser.iter().map(|(shape, _)| *shape);
        let datasets: Vec<Value> = std::iter::once(self.shape)
            .chain(shapes)
            .enumerate()
            .map(|(level, shape)| {
                let lengths = finest.iter().zip(self.along(shape));
                let scale: Vec<f64> = lengths.map(|(&n, m)| n as f64 / m as f64).collect();
                let mut list = vec![json!({"type": "scale", "scale": scale})];
                if level > 0 {
                    // Pixels of a level lie in the middle of those that they cover.
                    let shift: Vec<f64> = scale.iter().map(|s| (s - 1.0) / 2.0).collect();
                    list.push(json!({"type": "translation", "translation": shift}));
                }
                json!({"path": path_of_level(self.format, level), "coordinateTransformations": list})
            })
            .collect();
        let mut multiscale = json!({
            "axes": axes,
            "datasets": datasets,
            "coordinateTransformations": transformations,
            "name": self.name,
        });
        let mut attributes = Map::new();
        let mut ome = Map::new();
        let version = match self.format {
            ZarrFormat::V3 => {
                ome.insert("version".to_owned(), json!("0.5-dev-spatialdata"));
                "0.3"
            }
            ZarrFormat::V2 => {
                if let Some(object) = multiscale.as_object_mut() {
                    object.insert("version".to_owned(), json!("0.4-dev-spatialdata"));
                }
                "0.2"
            }
        };
        ome.insert("multiscales".to_owned(), json!([multiscale]));
        match metadata.omero {
            Some(omero) => {
                ome.insert("omero".to_owned(), omero);
            }
            None => {
                let mut label = Map::new();
                if self.format == ZarrFormat::V2 {
                    label.insert("version".to_owned(), json!("0.4"));
                }
                ome.insert("image-label".to_owned(), Value::Object(label));
            }
        }
        match self.format {
            ZarrFormat::V3 => {
                attributes.insert("ome".to_owned(), Value::Object(ome));
            }
            ZarrFormat::V2 => attributes.append(&mut ome),
        }
        attributes.insert("spatialdata_attrs".to_owned(), json!({"version": version}));
        write_group(place, self.format, attributes)
    }

    /// Writes all levels, a few chunks at a time.
    pub(crate) fn write_levels(
        &self,
        place: &Place,
        pixels: &dyn Pixels,
        reduction: Reduction,
        progress: &dyn Progress,
    ) -> Result<()> {
        let grids: u64 = std::iter::once(self.shape)
            .chain(self.coarser.iter().map(|(shape, _)| *shape))
            .map(|shape| grid(shape, self.chunk_of(shape)).iter().product::<u64>())
            .sum();
        progress.start("write pixels", Some(grids));
        let read = |region: &ImageRegion, out: &mut [u8]| pixels.read(region, out);
        self.write_level(place, 0, self.shape, progress, &read)?;
        // A coarser level is made of what was written of the one before, each chunk of which is read once or a few
        // times where chunks of the two do not fit.
        for (level, (shape, coarser)) in self.coarser.iter().enumerate() {
            let factors = match coarser {
                Coarser::Reduced(factors) => *factors,
                Coarser::Copied(source) => {
                    let read =
                        |region: &ImageRegion, out: &mut [u8]| source.read_bytes(region, out);
                    self.write_level(place, level + 1, *shape, progress, &read)?;
                    continue;
                }
            };
            let root = Arc::new(Root::open_on(
                place.disk(),
                place.path(),
                OpenOptions::default(),
            )?);
            let finer = ZarrArray::open(&root, &path_of_level(self.format, level), self.format)?;
            let read = |region: &ImageRegion, out: &mut [u8]| {
                let wide = ImageRegion {
                    y: region.y.start * factors.y..region.y.end * factors.y,
                    x: region.x.start * factors.x..region.x.end * factors.x,
                    ..region.clone()
                };
                let mut source = vec![0; out.len() * factors.y * factors.x];
                let window = Window {
                    ranges: self.ranges(&wide),
                    out: source.as_mut_slice(),
                };
                let bytes = Bytes {
                    size: self.data_type.size(),
                };
                finer.read_windows(&bytes, vec![window], None)?;
                reduce(
                    self.data_type,
                    reduction,
                    factors,
                    wide.x.len(),
                    &source,
                    out,
                );
                Ok(())
            };
            self.write_level(place, level + 1, *shape, progress, &read)?;
        }
        progress.finish();
        Ok(())
    }

    /// The chunks of a level.
    fn chunk_of(&self, shape: ImageShape) -> ImageShape {
        match self.shard {
            Some(_) => self.chunk,
            None => within(self.chunk, shape),
        }
    }

    /// A window along the stored axes.
    fn ranges(&self, region: &ImageRegion) -> Vec<Range<u64>> {
        self.axes
            .iter()
            .map(|axis| match *axis {
                "c" => &region.c,
                "z" => &region.z,
                "y" => &region.y,
                _ => &region.x,
            })
            .map(|r| r.start as u64..r.end as u64)
            .collect()
    }

    fn write_level(
        &self,
        place: &Place,
        level: usize,
        shape: ImageShape,
        progress: &dyn Progress,
        read: &(dyn Fn(&ImageRegion, &mut [u8]) -> Result<()> + Sync),
    ) -> Result<()> {
        let chunk = self.chunk_of(shape);
        let mut attributes = Map::new();
        if self.format == ZarrFormat::V2 {
            attributes.insert("_ARRAY_DIMENSIONS".to_owned(), json!(self.axes));
        }
        // Each file is written below, also one whose chunks are all zeros.
        crate::array::say_all_stored(&mut attributes);
        let file = self.shard.unwrap_or(chunk);
        let spec = ArraySpec {
            shape: self.along(shape),
            chunk: self.along(file),
            element: ElementType::Number(self.data_type),
            nested: true,
            dimension_names: Some(self.axes.iter().map(|&a| a.to_owned()).collect()),
            inner: self.shard.map(|_| self.along(chunk)),
            attributes,
            meaning: None,
        };
        let place = place.join(path_of_level(self.format, level));
        let writer = ArrayWriter::create(&place, self.format, spec)?;
        // The chunks of a file, or the files of one chunk that are worked on together.
        let together = rayon::current_num_threads().max(1);
        for group in self.groups(shape, file, together) {
            progress.check()?;
            let work = |index: &Vec<u64>| {
                let bytes = self.chunk_bytes(index, shape, chunk, read)?;
                if self.shard.is_some() {
                    writer.encode(&bytes)
                } else {
                    writer.write(&self.stored(index), &bytes)?;
                    Ok(None)
                }
            };
            let chunks = group.chunks(shape, file, chunk);
            let done: Vec<Result<Option<Vec<u8>>>> =
                chunks.par_iter().with_max_len(1).map(work).collect();
            let done: Vec<_> = done.into_iter().collect::<Result<_>>()?;
            if self.shard.is_some() {
                let per_shard = grid(file, chunk);
                let encoded = chunks.iter().zip(done).map(|(index, bytes)| {
                    let inner = index.iter().zip(&per_shard).map(|(i, n)| i % n);
                    let at = inner.zip(&per_shard).fold(0, |at, (i, n)| at * n + i);
                    (at as usize, bytes)
                });
                let count = per_shard.iter().product::<u64>() as usize;
                let bytes = shard_bytes(count, encoded);
                writer
                    .chunk_place(&self.stored(&group.files[0]))
                    .write(&bytes)?;
            }
            progress.advance(chunks.len() as u64);
        }
        Ok(())
    }

    /// Files that are written together: one shard, or several chunks.
    fn groups(&self, shape: ImageShape, file: ImageShape, together: usize) -> Vec<Group> {
        let together = if self.shard.is_some() { 1 } else { together };
        let files: Vec<Vec<u64>> = crate::array::indices(&grid(shape, file)).collect();
        files
            .chunks(together)
            .map(|files| Group {
                files: files.to_vec(),
            })
            .collect()
    }

    /// The index of a chunk along the stored axes.
    fn stored(&self, index: &[u64]) -> Vec<u64> {
        ["c", "z", "y", "x"]
            .iter()
            .zip(index)
            .filter(|(axis, _)| self.axes.contains(axis))
            .map(|(_, &i)| i)
            .collect()
    }

    /// The pixels of a chunk, which is stored whole at the edge as well.
    fn chunk_bytes(
        &self,
        index: &[u64],
        shape: ImageShape,
        chunk: ImageShape,
        read: &(dyn Fn(&ImageRegion, &mut [u8]) -> Result<()> + Sync),
    ) -> Result<Vec<u8>> {
        let size = self.data_type.size();
        let range = |axis: usize, chunk: usize, n: usize| -> Range<usize> {
            let start = index[axis] as usize * chunk;
            start..(start + chunk).min(n)
        };
        let region = ImageRegion {
            c: range(0, chunk.c, shape.c),
            z: range(1, chunk.z, shape.z),
            y: range(2, chunk.y, shape.y),
            x: range(3, chunk.x, shape.x),
        };
        let mut pixels = vec![0; region.checked_len().unwrap_or(0) * size];
        read(&region, &mut pixels)?;
        let extent = region.shape();
        if extent == chunk {
            return Ok(pixels);
        }
        let mut bytes = vec![0; chunk.region().checked_len().unwrap_or(0) * size];
        let row = extent.x * size;
        for (i, part) in pixels.chunks_exact(row).enumerate() {
            let (plane, y) = (i / extent.y, i % extent.y);
            let (c, z) = (plane / extent.z, plane % extent.z);
            let line = (c * chunk.z + z) * chunk.y + y;
            let at = line * chunk.x * size;
            bytes[at..at + row].copy_from_slice(part);
        }
        Ok(bytes)
    }
}

/// Files that are written together.
struct Group {
    files: Vec<Vec<u64>>,
}

impl Group {
    /// The chunks in these files that overlap with the image.
    fn chunks(&self, shape: ImageShape, file: ImageShape, chunk: ImageShape) -> Vec<Vec<u64>> {
        let all = grid(shape, chunk);
        let per_file = grid(file, chunk);
        let of_file = |index: &Vec<u64>| {
            let first: Vec<u64> = index.iter().zip(&per_file).map(|(i, n)| i * n).collect();
            crate::array::indices(&per_file)
                .map(move |inner| first.iter().zip(inner).map(|(f, i)| f + i).collect())
                .filter(|index: &Vec<u64>| index.iter().zip(&all).all(|(i, n)| i < n))
                .collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of_file).collect()
    }
}

/// A shard of chunks at their places, the index at its end.
fn shard_bytes(count: usize, chunks: impl Iterator<Item = (usize, Option<Vec<u8>>)>) -> Vec<u8> {
    let mut index = vec![(u64::MAX, u64::MAX); count];
    let mut bytes = Vec::new();
    for (at, chunk) in chunks {
        if let (Some(chunk), Some(entry)) = (chunk, index.get_mut(at)) {
            *entry = (bytes.len() as u64, chunk.len() as u64);
            bytes.extend(chunk);
        }
    }
    bytes.extend(encode_index(&index));
    bytes
}

/// A chunk that is no longer than the image along any axis.
fn within(chunk: ImageShape, shape: ImageShape) -> ImageShape {
    ImageShape::new(
        chunk.c.min(shape.c),
        chunk.z.min(shape.z),
        chunk.y.min(shape.y),
        chunk.x.min(shape.x),
    )
}

fn is_multiple(shard: ImageShape, chunk: ImageShape) -> bool {
    let divides = |shard: usize, chunk: usize| shard > 0 && shard.is_multiple_of(chunk);
    divides(shard.c, chunk.c)
        && divides(shard.z, chunk.z)
        && divides(shard.y, chunk.y)
        && divides(shard.x, chunk.x)
}

/// How many chunks there are along each axis.
fn grid(shape: ImageShape, chunk: ImageShape) -> [u64; 4] {
    let count = |n: usize, chunk: usize| n.div_ceil(chunk) as u64;
    [
        count(shape.c, chunk.c),
        count(shape.z, chunk.z),
        count(shape.y, chunk.y),
        count(shape.x, chunk.x),
    ]
}

fn check_shard(
    shard: ImageShape,
    chunk: ImageShape,
    data_type: DataType,
    format: ZarrFormat,
) -> Result<()> {
    let refuse = |problem: &str| {
        Err(Error::Config {
            name: "shards",
            problem: problem.to_owned(),
        })
    };
    if format == ZarrFormat::V2 {
        return refuse("Zarr v2 has none");
    }
    if !is_multiple(shard, chunk) {
        return refuse("each length must be a multiple of the chunk's");
    }
    let bytes = shard
        .region()
        .checked_len()
        .and_then(|n| n.checked_mul(data_type.size()));
    if bytes.is_none_or(|bytes| bytes > (1 << 30)) {
        return refuse("a shard must not have more than 1 GiB");
    }
    Ok(())
}

fn path_of_level(format: ZarrFormat, level: usize) -> String {
    match format {
        ZarrFormat::V3 => format!("s{level}"),
        ZarrFormat::V2 => level.to_string(),
    }
}
