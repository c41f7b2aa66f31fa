//! Writes everything that a store holds into a new one: `rewrite FROM TO [0.1|0.2]`.
//!
//! Elements whose codecs are not known are left out, and said to be.

#![expect(clippy::print_stdout, reason = "an example prints")]

use phenocoder_core::{ImageSource, LabelSource, NoProgress};
use phenocoder_io::{
    ContainerVersion, Element, ElementKind, Error, ImageWriteOptions, LabelWriteOptions,
    PointsWriteOptions, ShapesWriteOptions, Store, WriteMode,
};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, rest @ ..] = arguments.as_slice() else {
        println!("usage: rewrite FROM TO [0.1|0.2]");
        return Ok(());
    };
    let version = match rest.first().map(String::as_str) {
        Some("0.1") => ContainerVersion::V01,
        _ => ContainerVersion::V02,
    };
    let from = Store::open(from)?;
    let mut to = Store::create(to, version)?;
    for element in from.elements() {
        match rewrite(&from, element, &mut to) {
            Ok(()) => {}
            Err(error @ Error::UnsupportedCodec { .. }) => {
                println!("left out: {} ({error})", element.key);
            }
            Err(error) => return Err(error),
        }
    }
    to.write_attributes(from.attributes().clone())
}

fn rewrite(from: &Store, element: &Element, to: &mut Store) -> Result<(), Error> {
    let name = element.name.as_str();
    match element.kind {
        ElementKind::Image => {
            let image = from.image(name)?;
            let options = ImageWriteOptions::like(&image).with_chunks(image.chunk_shape());
            to.copy_image(name, &image, &options, &NoProgress)
        }
        ElementKind::Labels => {
            let labels = from.labels(name)?;
            let options = LabelWriteOptions::like(&labels).with_chunks(labels.chunk_shape());
            to.copy_labels(name, &labels, &options, &NoProgress)
        }
        ElementKind::Points => {
            let points = from.points(name)?.read_all()?;
            to.write_points(name, &points, &PointsWriteOptions::default())
        }
        ElementKind::Shapes => {
            let shapes = from.shapes(name)?.read_all()?;
            to.write_shapes(name, &shapes, &ShapesWriteOptions::default())
        }
        ElementKind::Table => {
            let mut table = from.table(name)?.read_all()?;
            for (entry, reason) in table.take_unsupported() {
                println!("left out: {entry} of table {name} ({reason})");
            }
            to.write_table(name, &table, WriteMode::Create)
        }
        other => {
            println!("left out: {} ({other:?} is not known)", element.key);
            Ok(())
        }
    }
}
