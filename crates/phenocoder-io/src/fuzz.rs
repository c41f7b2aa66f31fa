//! Parsers of bytes, for fuzz targets: no part of the interface.
//!
//! Each function takes the bytes of one file. Those of files within a store put it into a small sound store in memory
//! and read everything that the store holds.

mod memory;

use phenocoder_core::{ImageSource, NoProgress};
use serde_json::{Value, json};

use self::memory::{Bytes, Files};
use crate::columns::ColumnFile;
use crate::root::{RangeFile, Root};
use crate::{ElementKind, OpenOptions, Result, Store, columns, shapes, transform};

/// Small limits, so that what is slow or large for a reason is refused.
fn limits() -> OpenOptions {
    OpenOptions::default()
        .with_cache_bytes(1 << 20)
        .with_max_chunk_bytes(16 << 20)
        .with_max_array_bytes(16 << 20)
        .with_max_metadata_bytes(16 << 20)
}

/// Reads all that a store holds; what is wrong with one element does not keep the others from being read.
fn read_everything(files: Files) -> Result<()> {
    let store = Store::from_root(Root::new(files, limits()))?;
    for element in store.elements() {
        // Errors are what is expected; a panic or a hang is not.
        let _ = match element.kind {
            ElementKind::Image => read_image(&store, &element.name),
            ElementKind::Table => store
                .table(&element.name)
                .and_then(|table| table.read_all())
                .map(|_| ()),
            _ => Ok(()),
        };
    }
    let _ = crate::validate(&store);
    let _ = crate::verify(&store, &NoProgress);
    Ok(())
}

fn read_image(store: &Store, name: &str) -> Result<()> {
    let image = store.image(name)?;
    for level in 0..image.n_levels().min(4) {
        let image = image.level(level)?;
        let mut window = image.shape().region();
        for range in [&mut window.c, &mut window.z, &mut window.y, &mut window.x] {
            range.end = range.end.min(8);
        }
        image.read_region(&window, &mut vec![0.0; window.checked_len().unwrap_or(0)])?;
    }
    Ok(())
}

fn group(attributes: &Value) -> Value {
    json!({"zarr_format": 3, "node_type": "group", "attributes": attributes})
}

fn array(shape: &[usize], data_type: &str, codecs: &Value) -> Value {
    let fill = if data_type == "string" {
        json!("")
    } else {
        json!(0)
    };
    let chunk: Vec<usize> = shape.iter().map(|n| (*n).max(1)).collect();
    json!({
        "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill, "codecs": codecs, "attributes": {}, "storage_transformers": [],
    })
}

fn little() -> Value {
    json!({"name": "bytes", "configuration": {"endian": "little"}})
}

fn multiscales() -> Value {
    let axes = json!([
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "unit"},
        {"name": "x", "type": "space", "unit": "unit"},
    ]);
    let side = |name: &str| json!({"name": name, "axes": axes});
    json!([{
        "axes": axes, "name": "a",
        "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}],
        "coordinateTransformations": [{"type": "identity", "input": side("cyx"), "output": side("global")}],
    }])
}

/// A store with the image `a`, 1 × 8 × 8 pixels of `u16`, stored with these codecs.
fn image_store(codecs: &Value) -> Files {
    let ome = json!({"version": "0.5-dev-spatialdata", "multiscales": multiscales()});
    Files::default()
        .with(
            "zarr.json",
            &group(&json!({"spatialdata_attrs": {"version": "0.2"}})),
        )
        .with("images/zarr.json", &group(&json!({})))
        .with(
            "images/a/zarr.json",
            &group(&json!({"ome": ome, "spatialdata_attrs": {"version": "0.3"}})),
        )
        .with(
            "images/a/s0/zarr.json",
            &array(&[1, 8, 8], "uint16", codecs),
        )
        .with_bytes("images/a/s0/c/0/0/0", &[7; 128])
}

/// A store with the table `t` of three rows, without columns and variables.
fn table_store() -> Files {
    let dict = group(&json!({"encoding-type": "dict", "encoding-version": "0.1.0"}));
    let frame = |columns: &[&str]| {
        group(&json!({
            "encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index",
            "column-order": columns,
        }))
    };
    let texts = json!([{"name": "vlen-utf8"}]);
    let mut files = Files::default()
        .with("zarr.json", &group(&json!({"spatialdata_attrs": {"version": "0.2"}})))
        .with("tables/zarr.json", &group(&json!({})))
        .with(
            "tables/t/zarr.json",
            &group(&json!({
                "encoding-type": "anndata", "encoding-version": "0.1.0", "version": "0.2",
                "spatialdata-encoding-type": "ngff:regions_table",
                "region": null, "region_key": null, "instance_key": null,
            })),
        )
        .with("tables/t/obs/zarr.json", &frame(&["kind"]))
        .with("tables/t/obs/_index/zarr.json", &array(&[3], "string", &texts))
        .with("tables/t/var/zarr.json", &frame(&[]))
        .with("tables/t/var/_index/zarr.json", &array(&[2], "string", &texts))
        .with(
            "tables/t/obs/kind/zarr.json",
            &group(&json!({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": false})),
        )
        .with("tables/t/obs/kind/codes/zarr.json", &array(&[3], "int8", &json!([{"name": "bytes"}])))
        .with("tables/t/obs/kind/categories/zarr.json", &array(&[2], "string", &texts))
        .with(
            "tables/t/X/zarr.json",
            &group(&json!({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [3, 2]})),
        )
        .with("tables/t/X/indptr/zarr.json", &array(&[4], "int64", &json!([little()])))
        .with("tables/t/X/indices/zarr.json", &array(&[4], "int32", &json!([little()])))
        .with("tables/t/X/data/zarr.json", &array(&[4], "float32", &json!([little()])));
    for name in ["layers", "obsm", "varm", "obsp", "varp", "uns"] {
        files = files.with(&format!("tables/t/{name}/zarr.json"), &dict);
    }
    let pointers: Vec<u8> = [0_i64, 1, 3, 4]
        .iter()
        .flat_map(|p| p.to_le_bytes())
        .collect();
    let indices: Vec<u8> = [0_i32, 0, 1, 1]
        .iter()
        .flat_map(|i| i.to_le_bytes())
        .collect();
    let names = |names: &[&str]| crate::array::encode_texts(names);
    files
        .with_bytes("tables/t/X/indptr/c/0", &pointers)
        .with_bytes("tables/t/X/indices/c/0", &indices)
        .with_bytes("tables/t/obs/_index/c/0", &names(&["a", "b", "c"]))
        .with_bytes("tables/t/var/_index/c/0", &names(&["v", "w"]))
        .with_bytes("tables/t/obs/kind/categories/c/0", &names(&["x", "y"]))
        .with_bytes("tables/t/obs/kind/codes/c/0", &[0, 1, 255])
}

/// Reads a store whose root has this `zarr.json`, consolidated metadata included.
///
/// # Errors
///
/// What is wrong with the root.
pub fn root(bytes: &[u8]) -> Result<()> {
    read_everything(image_store(&json!([little()])).with_bytes("zarr.json", bytes))
}

/// Reads an image whose array has this `zarr.json`.
///
/// # Errors
///
/// None that matters.
pub fn array_v3(bytes: &[u8]) -> Result<()> {
    read_everything(image_store(&json!([little()])).with_bytes("images/a/s0/zarr.json", bytes))
}

/// Reads an image of Zarr v2 whose array has this `.zarray`.
///
/// # Errors
///
/// None that matters.
pub fn array_v2(bytes: &[u8]) -> Result<()> {
    let files = Files::default()
        .with(".zgroup", &json!({"zarr_format": 2}))
        .with("images/.zgroup", &json!({"zarr_format": 2}))
        .with("images/a/.zgroup", &json!({"zarr_format": 2}))
        .with("images/a/.zattrs", &json!({"multiscales": multiscales()}))
        .with_bytes("images/a/s0/.zarray", bytes)
        .with_bytes("images/a/s0/0/0/0", &[7; 128])
        .with_bytes("images/a/s0/0.0.0", &[7; 128]);
    read_everything(files)
}

/// Reads an image whose group has this `zarr.json`: scales, channels, transformations.
///
/// # Errors
///
/// None that matters.
pub fn multiscale(bytes: &[u8]) -> Result<()> {
    read_everything(image_store(&json!([little()])).with_bytes("images/a/zarr.json", bytes))
}

/// Reads a chunk; the first byte chooses its codecs.
///
/// # Errors
///
/// None that matters.
pub fn chunk(bytes: &[u8]) -> Result<()> {
    let (choice, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let codec = match choice % 7 {
        0 => json!({"name": "zstd", "configuration": {"level": 0, "checksum": false}}),
        1 => json!({"name": "gzip", "configuration": {"level": 1}}),
        2 => json!({"name": "crc32c"}),
        3 => json!({"name": "numcodecs.zlib", "configuration": {"level": 1}}),
        4 => json!({"name": "numcodecs.lz4", "configuration": {"acceleration": 1}}),
        5 => json!({"name": "numcodecs.shuffle", "configuration": {"elementsize": 2}}),
        _ => json!({"name": "blosc", "configuration": {
            "cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 2, "blocksize": 0,
        }}),
    };
    read_everything(image_store(&json!([little(), codec])).with_bytes("images/a/s0/c/0/0/0", bytes))
}

/// Reads a shard of sixteen chunks.
///
/// # Errors
///
/// None that matters.
pub fn shard(bytes: &[u8]) -> Result<()> {
    let sharding = json!({"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 2, 2], "codecs": [little()], "index_codecs": [little()], "index_location": "end",
    }});
    read_everything(image_store(&json!([sharding])).with_bytes("images/a/s0/c/0/0/0", bytes))
}

/// Reads a table whose group has this `zarr.json`.
///
/// # Errors
///
/// None that matters.
pub fn table(bytes: &[u8]) -> Result<()> {
    read_everything(table_store().with_bytes("tables/t/zarr.json", bytes))
}

/// Reads a table whose `obs` has this `zarr.json`.
///
/// # Errors
///
/// None that matters.
pub fn data_frame(bytes: &[u8]) -> Result<()> {
    read_everything(table_store().with_bytes("tables/t/obs/zarr.json", bytes))
}

/// Reads a table with these names of rows, as `vlen-utf8` stores them.
///
/// # Errors
///
/// None that matters.
pub fn texts(bytes: &[u8]) -> Result<()> {
    read_everything(table_store().with_bytes("tables/t/obs/_index/c/0", bytes))
}

/// Reads a table with these codes of categories.
///
/// # Errors
///
/// None that matters.
pub fn categories(bytes: &[u8]) -> Result<()> {
    read_everything(table_store().with_bytes("tables/t/obs/kind/codes/c/0", bytes))
}

/// Reads a sparse matrix: 32 bytes of pointers, 16 bytes of indices, the rest are values.
///
/// # Errors
///
/// None that matters.
pub fn sparse(bytes: &[u8]) -> Result<()> {
    let (pointers, rest) = bytes.split_at(bytes.len().min(32));
    let (indices, values) = rest.split_at(rest.len().min(16));
    let files = table_store()
        .with_bytes("tables/t/X/indptr/c/0", pointers)
        .with_bytes("tables/t/X/indices/c/0", indices)
        .with_bytes("tables/t/X/data/c/0", values);
    read_everything(files)
}

/// Reads every column of a Parquet file, with limits of 16 MiB.
///
/// # Errors
///
/// What is wrong with the file.
pub fn parquet(bytes: &[u8]) -> Result<()> {
    let file = RangeFile::new(bytes.len() as u64, Bytes(bytes.to_vec()));
    let file = ColumnFile::read_footer(file, "bytes", limits())?;
    columns::read_all(&file)
}

/// Reads the header of a page of a Parquet file.
pub fn page_header(bytes: &[u8]) -> bool {
    columns::is_page_header(bytes)
}

/// Reads a geometry in well-known binary.
///
/// # Errors
///
/// What is wrong with it.
pub fn wkb(bytes: &[u8]) -> Result<()> {
    shapes::read_wkb(bytes)
}

/// Reads `coordinateTransformations` and makes a matrix of each.
///
/// # Errors
///
/// What is wrong with them.
pub fn transformations(bytes: &[u8]) -> Result<()> {
    let list: Value = crate::json::parse("bytes", bytes)?;
    for transformation in transform::parse_all("bytes", Some(&list))? {
        let _ = transformation.to_affine()?.inverse();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use phenocoder_core::Seed;

    use super::*;
    use crate::array::encode_texts;

    type Target = (&'static str, fn(&[u8]) -> Result<()>, Vec<u8>);

    /// Every target with input that is sound.
    fn targets() -> Vec<Target> {
        let file = |files: Files, key: &str| files.get(key).unwrap().to_vec();
        let image = || image_store(&json!([little()]));
        let zarray = json!({
            "zarr_format": 2, "shape": [1, 8, 8], "chunks": [1, 8, 8], "dtype": "<u2", "compressor": null,
            "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/",
        });
        let sparse = [
            file(table_store(), "tables/t/X/indptr/c/0"),
            file(table_store(), "tables/t/X/indices/c/0"),
            vec![0; 16],
        ];
        let zstd = [vec![0], zstd::encode_all(&[7; 128][..], 0).unwrap()].concat();
        let index = [0_u64.to_le_bytes(), 8_u64.to_le_bytes()]
            .concat()
            .repeat(16);
        vec![
            ("root", root, file(image(), "zarr.json")),
            ("array_v3", array_v3, file(image(), "images/a/s0/zarr.json")),
            ("array_v2", array_v2, zarray.to_string().into_bytes()),
            (
                "multiscale",
                multiscale,
                file(image(), "images/a/zarr.json"),
            ),
            ("chunk", chunk, zstd),
            ("shard", shard, [vec![1; 8], index].concat()),
            ("table", table, file(table_store(), "tables/t/zarr.json")),
            (
                "data_frame",
                data_frame,
                file(table_store(), "tables/t/obs/zarr.json"),
            ),
            ("texts", texts, encode_texts(&["a", "b", "c"])),
            ("categories", categories, vec![0, 1, 255]),
            ("sparse", sparse_target, sparse.concat()),
            (
                "transformations",
                transformations,
                multiscales()[0]["coordinateTransformations"]
                    .to_string()
                    .into_bytes(),
            ),
        ]
    }

    fn sparse_target(bytes: &[u8]) -> Result<()> {
        sparse(bytes)
    }

    #[test]
    fn sound_input_is_read() {
        for files in [image_store(&json!([little()])), table_store()] {
            let store = Store::from_root(Root::new(files, limits())).unwrap();
            assert_eq!(store.elements().len(), 1);
            let found = crate::validate(&store);
            assert!(found.iter().all(|v| v.is_warning), "{found:?}");
            let found = crate::verify(&store, &NoProgress).unwrap();
            assert!(found.violations.is_empty(), "{found:?}");
            assert!(found.chunks > 0);
        }
        for (name, target, input) in targets() {
            assert!(target(&input).is_ok(), "{name}");
        }
    }

    #[test]
    fn mutated_input_never_panics() {
        let mut stream = Seed::new(5).stream("fuzz", 0);
        for (_, target, input) in targets() {
            for _ in 0..300 {
                let mut bytes = input.clone();
                for _ in 0..1 + stream.below(4) {
                    let at = stream.below(bytes.len().max(1));
                    match stream.below(5) {
                        0 => bytes.truncate(at),
                        1 => bytes.extend_from_within(at.min(bytes.len())..),
                        2 if at < bytes.len() => bytes[at] = b"0-9\xff\0{["[stream.below(7)],
                        3 if at < bytes.len() => {
                            bytes.remove(at);
                        }
                        _ if at < bytes.len() => bytes[at] ^= 1 << stream.below(8),
                        _ => {}
                    }
                }
                // Any error will do.
                let _ = target(&bytes);
            }
        }
    }

    #[test]
    fn bytes_that_are_nothing_are_errors() {
        for bytes in [
            &b""[..],
            b"PAR1",
            b"\x01\x03\0\0\0\xff\xff\xff\xff",
            b"[{}]",
        ] {
            assert!(parquet(bytes).is_err());
            assert!(wkb(bytes).is_err());
            assert!(transformations(bytes).is_err());
            let _ = page_header(bytes);
        }
    }
}
