//! Writes the images and masks, points, shapes and tables of a store into a new one:
//! `rewrite FROM TO [0.1|0.2]`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use phenocoder_core::{ImageSource, LabelSource, NoProgress};
use phenocoder_io::{
    ContainerVersion, Error, ImageWriteOptions, LabelWriteOptions, PointsWriteOptions,
    ShapesWriteOptions, Store, WriteMode,
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
    for name in from.image_names() {
        let image = from.image(&name)?;
        let options = ImageWriteOptions::like(&image).with_chunks(image.chunk_shape());
        to.copy_image(&name, &image, &options, &NoProgress)?;
    }
    for name in from.label_names() {
        let labels = from.labels(&name)?;
        let options = LabelWriteOptions::like(&labels).with_chunks(labels.chunk_shape());
        to.copy_labels(&name, &labels, &options, &NoProgress)?;
    }
    for name in from.points_names() {
        let points = from.points(&name)?.read_data()?;
        to.write_points(&name, &points, &PointsWriteOptions::default())?;
    }
    for name in from.shapes_names() {
        let shapes = from.shapes(&name)?.read_all()?;
        to.write_shapes(&name, &shapes, &ShapesWriteOptions::default())?;
    }
    for name in from.table_names() {
        let mut table = from.table(&name)?.read_all()?;
        for (entry, reason) in table.take_unsupported() {
            println!("left out: {entry} of table {name} ({reason})");
        }
        to.write_table(&name, &table, WriteMode::Create)?;
    }
    to.write_attributes(from.attributes().clone())
}
