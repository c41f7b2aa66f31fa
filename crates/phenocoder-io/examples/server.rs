//! Reads a store from a server with few requests: `server ADDRESS [NAME=VALUE ...]`.
//!
//! ```sh
//! cargo run --release -p phenocoder-io --features object-store --example server -- \
//!     s3://bucket/tissue.zarr aws_region=eu-central-1 aws_skip_signature=true
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use phenocoder_core::ImageSource;
use phenocoder_io::{ElementKind, OpenOptions, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(address) = arguments.next() else {
        println!("usage: server ADDRESS [NAME=VALUE ...]");
        return Ok(());
    };
    let mut options = OpenOptions::default().with_max_requests(Some(10_000));
    for setting in arguments {
        let (name, value) = setting.split_once('=').ok_or("a setting is NAME=VALUE")?;
        options = options.with_storage_option(name, value);
    }
    let store = Store::open_with(&address, options)?;
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
