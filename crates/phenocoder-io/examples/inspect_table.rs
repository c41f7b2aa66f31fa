//! Prints what a store holds, and the columns and matrices of its tables: `inspect_table STORE`.

#![expect(clippy::print_stdout, reason = "an example prints")]

use phenocoder_core::{ImageSource, LabelSource};
use phenocoder_io::{ElementKind, Error, Store};

fn main() -> Result<(), Error> {
    let Some(path) = std::env::args().nth(1) else {
        println!("usage: inspect_table STORE");
        return Ok(());
    };
    let store = Store::open(path)?;
    println!("container {}", store.version().as_str());
    for element in store.elements() {
        // One broken element does not stop the others.
        match describe(&store, element.kind, &element.name) {
            Ok(text) => println!("{}: {text}", element.key),
            Err(error) => println!("{}: {error}", element.key),
        }
    }
    Ok(())
}

fn describe(store: &Store, kind: ElementKind, name: &str) -> Result<String, Error> {
    Ok(match kind {
        ElementKind::Image => {
            let image = store.image(name)?;
            let (shape, channels) = (image.shape(), image.channels().join(", "));
            format!("{:?} {shape:?}, channels {channels}", image.data_type())
        }
        ElementKind::Labels => {
            let labels = store.labels(name)?;
            format!("{:?} {:?}", labels.data_type(), labels.shape())
        }
        ElementKind::Table => {
            let table = store.table(name)?;
            format!(
                "{} × {}, obs: {}; obsm: {}; obsp: {}; annotates: {}",
                table.n_obs(),
                table.n_vars(),
                table.obs_columns().join(", "),
                table.obsm_keys()?.join(", "),
                table.obsp_keys()?.join(", "),
                table
                    .annotation()
                    .map_or_else(|| "nothing".to_owned(), |a| a.regions.join(", ")),
            )
        }
        _ => "not read by this version".to_owned(),
    })
}
