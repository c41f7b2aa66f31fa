//! Reads a store from a server with few requests, or makes one there: `server [write] ADDRESS [NAME=VALUE ...]`.
//!
//! ```sh
//! cargo run --release -p phenocoder-io --features object-store --example server -- \
//!     s3://bucket/tissue.zarr aws_region=eu-central-1 aws_skip_signature=true
//! ```
//!
//! `write` makes a new store with an image of levels and shards; it takes credentials from the environment
//! (`AWS_ACCESS_KEY_ID` and its like).

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use ndarray::Array4;
use phenocoder_core::{DataType, ImageShape, ImageSource, NoProgress};
use phenocoder_io::{
    ContainerVersion, ElementKind, ImageWriteOptions, OpenOptions, Pyramid, Store,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let writes = arguments.next_if_eq("write").is_some();
    let Some(address) = arguments.next() else {
        println!("usage: server [write] ADDRESS [NAME=VALUE ...]");
        return Ok(());
    };
    let mut options = OpenOptions::default().with_max_requests(Some(10_000));
    for setting in arguments {
        let (name, value) = setting.split_once('=').ok_or("a setting is NAME=VALUE")?;
        options = options.with_storage_option(name, value);
    }
    if writes {
        write(&address, options.clone())?;
    }
    read(&Store::open_with(&address, options)?)
}

/// Makes a store with an image; one file of each level holds 16 chunks of a channel, which are read one by one.
fn write(address: &str, options: OpenOptions) -> Result<(), Box<dyn Error>> {
    let mut store = Store::create_with(address, ContainerVersion::V02, options)?;
    let pixels = Array4::from_shape_fn((2, 1, 600, 800), |(c, _, y, x)| {
        (1000 * c + y / 3 + x / 4) as u16
    });
    let options = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(ImageShape::new(1, 1, 256, 256))
        .with_shards(ImageShape::new(1, 1, 1024, 1024))
        .with_pyramid(Pyramid::Halving);
    store.write_pixels("gradient", pixels.view(), &options, &NoProgress)?;
    Ok(())
}

fn read(store: &Store) -> Result<(), Box<dyn Error>> {
    for element in store.elements() {
        println!("{}", element.key);
        if element.kind == ElementKind::Image {
            // The coarsest level, the first channel: one chunk, as a rule.
            let image = store.image(&element.name)?;
            let coarse = image.level(image.n_levels() - 1)?;
            let mut window = coarse.shape().region();
            window.c = 0..1;
            let mut pixels = vec![0.0; window.checked_len().ok_or("the level is too large")?];
            coarse.read_region(&window, &mut pixels)?;
            let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / pixels.len() as f64;
            println!(
                "    {:?}, {:?}, mean {mean:.2}",
                coarse.shape(),
                coarse.data_type()
            );
        }
    }
    Ok(())
}
