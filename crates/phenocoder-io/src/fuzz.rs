//! Parsers of bytes, for fuzz targets: no part of the interface.
//!
//! Each function takes the bytes of one file. Those of files within a store put it into a small sound store in memory
//! and read everything that the store holds.

mod memory;

use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BinaryArray, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use phenocoder_core::{ImageSource, NoProgress};
use serde_json::{Value, json};

use self::memory::{Bytes, Files, Replaced};
use crate::array::{BytesCodecs, ChunkCache, ZarrArray};
use crate::columns::{ColumnFile, Pandas, Parts};
use crate::node::{Node, ZarrFormat};
use crate::ome::Image;
use crate::root::{Root, Source, ZipFile};
use crate::table::{Context, LazyFrame, StoredMatrix, Table, read_value};
use crate::{OpenOptions, Points, Result, Shapes, Store, columns, transform};

/// Small limits, so that what is slow or large for a reason is refused.
fn limits() -> OpenOptions {
    static LIMITS: LazyLock<OpenOptions> = LazyLock::new(|| {
        OpenOptions::default()
            .with_cache_bytes(1 << 20)
            .with_max_chunk_bytes(16 << 20)
            .with_max_array_bytes(16 << 20)
            .with_max_metadata_bytes(16 << 20)
    });
    LIMITS.clone()
}

fn root_of(files: Files) -> Arc<Root> {
    Arc::new(Root::new(files, limits()))
}

fn context(files: Files, format: ZarrFormat) -> Context {
    let root = root_of(files);
    Context { root, format }
}

/// Reads all that a store holds.
fn read_everything(source: impl Source + 'static) -> Result<()> {
    let store = Store::from_root(Root::new(source, limits()))?;
    // What is wrong with an element does not keep the others from being read; a panic or a hang is what is looked for.
    let _ = store.coordinate_systems();
    let _ = crate::validate(&store);
    let _ = crate::verify(&store, &NoProgress);
    Ok(())
}

/// Opens an image and reads its levels.
fn open_and_read_image(files: Files, node: &Node) -> Result<()> {
    let cache = Arc::new(ChunkCache::new(1 << 20));
    read_image(&Image::open(&root_of(files), &cache, "a", node)?)
}

fn read_image(image: &Image) -> Result<()> {
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
        .with("tables/t/obs/kind/categories/zarr.json", &array(&[2], "string", &texts));
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
    let sparse =
        json!({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [3, 2]});
    for matrix in ["tables/t/X", "tables/t/obsm/m"] {
        let numbers = |data_type| array(&[4], data_type, &json!([little()]));
        files = files
            .with(&format!("{matrix}/zarr.json"), &group(&sparse))
            .with(&format!("{matrix}/indptr/zarr.json"), &numbers("int64"))
            .with(&format!("{matrix}/indices/zarr.json"), &numbers("int32"))
            .with(&format!("{matrix}/data/zarr.json"), &numbers("float32"))
            .with_bytes(&format!("{matrix}/indptr/c/0"), &pointers)
            .with_bytes(&format!("{matrix}/indices/c/0"), &indices);
    }
    files
        .with_bytes("tables/t/obs/_index/c/0", &names(&["a", "b", "c"]))
        .with_bytes("tables/t/var/_index/c/0", &names(&["v", "w"]))
        .with_bytes("tables/t/obs/kind/categories/c/0", &names(&["x", "y"]))
        .with_bytes("tables/t/obs/kind/codes/c/0", &[0, 1, 255])
}

/// The same image in Zarr v2.
fn old_store() -> Files {
    let group = json!({"zarr_format": 2});
    let multiscales = json!({"multiscales": multiscales()});
    Files::default()
        .with(".zgroup", &group)
        .with(".zattrs", &json!({"spatialdata_attrs": {"version": "0.1"}}))
        .with("images/.zgroup", &group)
        .with("images/a/.zgroup", &group)
        .with("images/a/.zattrs", &multiscales)
        .with(
            "images/a/s0/.zarray",
            &json!({
                "zarr_format": 2, "shape": [1, 8, 8], "chunks": [1, 8, 8], "dtype": "<u2", "compressor": null,
                "fill_value": 0, "order": "C", "filters": null, "dimension_separator": "/",
            }),
        )
        .with_bytes("images/a/s0/0/0/0", &[7; 128])
}

/// A Parquet file with these columns and this note.
fn parquet_file(columns: Vec<(&str, ArrayRef)>, note: (&str, &Value)) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).expect("the columns are of equal length");
    let (name, value) = note;
    let note = KeyValue::new(name.to_owned(), value.to_string());
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![note]))
        .build();
    ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))
        .and_then(|mut writer| {
            writer.write(&batch)?;
            writer.into_inner()
        })
        .expect("memory can be written to")
}

/// A polygon in well-known binary.
fn triangle() -> Vec<u8> {
    let head = [1, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0];
    let ring = [0., 0., 1., 0., 1., 1., 0., 0.];
    let ring = ring.iter().flat_map(|n: &f64| n.to_le_bytes());
    head.into_iter().chain(ring).collect()
}

/// The group of points or shapes with this in `spatialdata_attrs`.
fn vectors(about: &Value) -> Value {
    let axes = json!([{"name": "x", "type": "space"}, {"name": "y", "type": "space"}]);
    let side = |name: &str| json!({"name": name, "axes": axes});
    group(&json!({
        "axes": ["x", "y"], "spatialdata_attrs": about,
        "coordinateTransformations": [{"type": "identity", "input": side("xy"), "output": side("global")}],
    }))
}

/// A store with the points `a` and the shapes `a` and `p`; those of `a` are stored in both ways.
fn vector_store() -> Files {
    let number = || Arc::new(Float64Array::from(vec![0.5, -1.0, 2.0])) as ArrayRef;
    let texts = Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef;
    let points = vec![("x", number()), ("y", number()), ("gene", texts)];
    let geometry = Arc::new(BinaryArray::from_iter_values([triangle(), triangle()])) as ArrayRef;
    let geo = json!({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {
        "encoding": "WKB", "geometry_types": ["Polygon"],
    }}});
    let index = json!({"columns": [], "index_columns": [{
        "kind": "range", "name": null, "start": 0, "stop": 3, "step": 1,
    }]});
    let whole =
        |numbers: &[i64]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let little = json!([little()]);
    let numbers = |shape: &[usize]| array(shape, "float64", &little);
    let offsets = |n: usize| array(&[n], "int64", &little);
    Files::default()
        .with(
            "zarr.json",
            &group(&json!({"spatialdata_attrs": {"version": "0.2"}})),
        )
        .with("points/zarr.json", &group(&json!({})))
        .with("points/a/zarr.json", &vectors(&json!({"version": "0.2"})))
        .with_bytes(
            "points/a/points.parquet/part.0.parquet",
            &parquet_file(points, ("pandas", &index)),
        )
        .with("shapes/zarr.json", &group(&json!({})))
        .with("shapes/a/zarr.json", &vectors(&json!({"version": "0.3"})))
        .with_bytes(
            "shapes/a/shapes.parquet",
            &parquet_file(vec![("geometry", geometry)], ("geo", &geo)),
        )
        // Two objects of three polygons of four rings of sixteen vertices.
        .with("shapes/a/Index/zarr.json", &offsets(2))
        .with_bytes("shapes/a/Index/c/0", &whole(&[5, 6]))
        .with("shapes/a/coords/zarr.json", &numbers(&[16, 2]))
        .with_bytes("shapes/a/coords/c/0/0", &[0; 256])
        .with("shapes/a/offset0/zarr.json", &offsets(5))
        .with_bytes("shapes/a/offset0/c/0", &whole(&[0, 4, 8, 12, 16]))
        .with("shapes/a/offset1/zarr.json", &offsets(4))
        .with_bytes("shapes/a/offset1/c/0", &whole(&[0, 1, 2, 4]))
        .with("shapes/a/offset2/zarr.json", &offsets(3))
        .with_bytes("shapes/a/offset2/c/0", &whole(&[0, 2, 3]))
        .with(
            "shapes/p/zarr.json",
            &vectors(&json!({"version": "0.1", "geos": {"type": 0}})),
        )
        .with("shapes/p/Index/zarr.json", &offsets(2))
        .with_bytes("shapes/p/Index/c/0", &whole(&[5, 6]))
        .with("shapes/p/coords/zarr.json", &numbers(&[2, 2]))
        .with_bytes("shapes/p/coords/c/0/0", &[0; 32])
        .with("shapes/p/radius/zarr.json", &numbers(&[2]))
        .with_bytes(
            "shapes/p/radius/c/0",
            &[1_f64, 2.0].map(f64::to_le_bytes).concat(),
        )
}

static VECTORS: LazyLock<Files> = LazyLock::new(vector_store);
static OLD: LazyLock<Files> = LazyLock::new(old_store);
static IMAGE: LazyLock<Files> = LazyLock::new(|| image_store(&json!([little()])));
static TABLE: LazyLock<Files> = LazyLock::new(table_store);

/// The metadata of the image `a`.
static IMAGE_NODE: LazyLock<Node> = LazyLock::new(|| node(&IMAGE, "images/a"));

fn node(files: &Files, key: &str) -> Node {
    let root = Root::new(files.clone(), limits());
    Node::open(&root, key, ZarrFormat::V3).expect("the files above are sound")
}

/// Reads a store whose root has this `zarr.json`, consolidated metadata included.
///
/// # Errors
///
/// What is wrong with the root.
pub fn root(bytes: &[u8]) -> Result<()> {
    read_everything(IMAGE.replacing("zarr.json", bytes))
}

/// Reads an array with this `zarr.json`: as a level of an image, and as a value of a table.
///
/// # Errors
///
/// What is wrong with it.
pub fn array_v3(bytes: &[u8]) -> Result<()> {
    // Chunks of arrays with fewer axes, too.
    static FILES: LazyLock<Files> = LazyLock::new(|| {
        IMAGE
            .clone()
            .with_bytes("images/a/s0/c/0/0", &[7; 128])
            .with_bytes("images/a/s0/c/0", &[7; 128])
            .with_bytes("images/a/s0/c", &[7; 128])
    });
    let files = FILES.replacing("images/a/s0/zarr.json", bytes);
    let context = context(files.clone(), ZarrFormat::V3);
    let node = Node::open(&context.root, "images/a/s0", ZarrFormat::V3)?;
    let read = read_value(&context, node, 0);
    let image = open_and_read_image(files, &IMAGE_NODE);
    image.or(read.map(|_| ()))
}

/// Reads an array with this `.zarray`: as a level of an image, and as a value of a table.
///
/// # Errors
///
/// What is wrong with it.
pub fn array_v2(bytes: &[u8]) -> Result<()> {
    static FILES: LazyLock<Files> = LazyLock::new(|| {
        Files::default()
            .with(".zgroup", &json!({"zarr_format": 2}))
            .with("images/.zgroup", &json!({"zarr_format": 2}))
            .with("images/a/.zgroup", &json!({"zarr_format": 2}))
            .with("images/a/.zattrs", &json!({"multiscales": multiscales()}))
            .with_bytes("images/a/s0/0/0/0", &[7; 128])
            .with_bytes("images/a/s0/0.0.0", &[7; 128])
            .with_bytes("images/a/s0/0", &[7; 128])
    });
    static NODE: LazyLock<Node> = LazyLock::new(|| {
        let root = Root::new(FILES.clone(), limits());
        Node::open(&root, "images/a", ZarrFormat::V2).expect("the files above are sound")
    });
    let files = FILES.replacing("images/a/s0/.zarray", bytes);
    let context = context(files.clone(), ZarrFormat::V2);
    let node = Node::open(&context.root, "images/a/s0", ZarrFormat::V2)?;
    let read = read_value(&context, node, 0);
    let image = open_and_read_image(files, &NODE);
    image.or(read.map(|_| ()))
}

/// Reads an image whose group has this `zarr.json`: scales, channels, transformations.
///
/// # Errors
///
/// What is wrong with it.
pub fn multiscale(bytes: &[u8]) -> Result<()> {
    let files = IMAGE.replacing("images/a/zarr.json", bytes);
    let root = Root::new(files.clone(), limits());
    let node = Node::open(&root, "images/a", ZarrFormat::V3)?;
    let _ = transform::targets(&node.attributes);
    open_and_read_image(files, &node)
}

/// Decodes a chunk of 128 bytes; the first byte chooses its codecs.
///
/// # Errors
///
/// What is wrong with it.
pub fn chunk(bytes: &[u8]) -> Result<()> {
    static CODECS: LazyLock<Vec<BytesCodecs>> = LazyLock::new(|| {
        let codec = |name: &str, configuration: Value| {
            let mut list = vec![json!({"name": name, "configuration": configuration})];
            if name == "numcodecs.shuffle" {
                list.push(json!({"name": "crc32c"}));
            }
            let (codecs, rest) = BytesCodecs::split_v3("chunk", &list).expect("codecs are known");
            assert!(rest.is_empty(), "codecs are known");
            codecs
        };
        let blosc = |shuffle: &str, typesize: usize| {
            let configuration = json!({
                "cname": "lz4", "clevel": 5, "shuffle": shuffle, "typesize": typesize, "blocksize": 0,
            });
            codec("blosc", configuration)
        };
        vec![
            codec("zstd", json!({"level": 0, "checksum": false})),
            codec("gzip", json!({"level": 1})),
            codec("numcodecs.zlib", json!({"level": 1})),
            codec("numcodecs.lz4", json!({"acceleration": 1})),
            codec("numcodecs.shuffle", json!({"elementsize": 2})),
            codec("crc32c", json!({})),
            codec("numcodecs.adler32", json!({})),
            codec("numcodecs.crc32", json!({})),
            blosc("shuffle", 2),
            blosc("bitshuffle", 4),
        ]
    });
    let (choice, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let codecs = &CODECS[usize::from(*choice) % CODECS.len()];
    let whole = codecs.decode_into("chunk", bytes, &mut [0; 128]);
    // Text is decoded without knowing its size.
    let unknown = codecs.decode("chunk", bytes, 1 << 16);
    whole.and(unknown.map(|_| ()))
}

/// Reads a shard of sixteen chunks.
///
/// # Errors
///
/// What is wrong with it.
pub fn shard(bytes: &[u8]) -> Result<()> {
    static SHARDED: LazyLock<(Files, Node)> = LazyLock::new(|| {
        let sharding = json!({"name": "sharding_indexed", "configuration": {
            "chunk_shape": [1, 2, 2], "codecs": [little()], "index_codecs": [little()], "index_location": "end",
        }});
        let files = image_store(&json!([sharding]));
        let node = node(&files, "images/a/s0");
        (files, node)
    });
    let (files, node) = &*SHARDED;
    let root = root_of(files.replacing("images/a/s0/c/0/0/0", bytes));
    let array = ZarrArray::from_node(&root, node.clone())?;
    array.check_chunk(&[0, 0, 0])?;
    array.read_numbers().map(|_| ())
}

/// Reads a table whose group has this `zarr.json`.
///
/// # Errors
///
/// What is wrong with it.
pub fn table(bytes: &[u8]) -> Result<()> {
    let root = root_of(TABLE.replacing("tables/t/zarr.json", bytes));
    let node = Node::open(&root, "tables/t", ZarrFormat::V3)?;
    let table = Table::open(&root, &node)?;
    for name in table.obsm_keys()? {
        table.obsm(&name)?;
    }
    table.read_all()?.validate()
}

/// Reads `obs` of the table with other bytes in one of its files.
fn read_obs(key: &'static str, bytes: &[u8]) -> Result<()> {
    let context = context(TABLE.replacing(key, bytes), ZarrFormat::V3);
    let node = Node::open(&context.root, "tables/t/obs", ZarrFormat::V3)?;
    let frame = LazyFrame::open(&context, node)?;
    frame.read_index(&context)?;
    frame.info(&context)?;
    frame.read_all(&context).map(|_| ())
}

/// Reads a data frame whose group has this `zarr.json`.
///
/// # Errors
///
/// What is wrong with it.
pub fn data_frame(bytes: &[u8]) -> Result<()> {
    read_obs("tables/t/obs/zarr.json", bytes)
}

thread_local! {
    static NAMES: Opened<ZarrArray> = Opened::new(&TABLE, "tables/t/obs/_index", |context, node| {
        ZarrArray::from_node(&context.root, node)
    });
    static CATEGORIES: Opened<LazyFrame> = Opened::new(&TABLE, "tables/t/obs", LazyFrame::open);
    static SPARSE: Opened<StoredMatrix> = Opened::new(&TABLE, "tables/t/X", StoredMatrix::open);
}

/// Something whose metadata have been read once, in a store of which files are replaced afterwards.
struct Opened<T> {
    context: Context,
    input: Replaced,
    value: T,
}

impl<T> Opened<T> {
    fn new(files: &Files, key: &str, open: impl FnOnce(&Context, Node) -> Result<T>) -> Self {
        let input = Replaced::new(files.clone());
        let root = Arc::new(Root::new(input.clone(), limits()));
        let format = ZarrFormat::V3;
        let context = Context { root, format };
        let opened = Node::open(&context.root, key, format).and_then(|node| open(&context, node));
        Self {
            value: opened.expect("the files above are sound"),
            context,
            input,
        }
    }
}

/// Reads an array of texts as `vlen-utf8` stores them.
///
/// # Errors
///
/// What is wrong with them.
pub fn texts(bytes: &[u8]) -> Result<()> {
    NAMES.with(|names| {
        names.input.replace([("tables/t/obs/_index/c/0", bytes)]);
        names.value.read_texts().map(|_| ())
    })
}

/// Reads a column with these codes of categories.
///
/// # Errors
///
/// What is wrong with them.
pub fn categories(bytes: &[u8]) -> Result<()> {
    CATEGORIES.with(|frame| {
        frame
            .input
            .replace([("tables/t/obs/kind/codes/c/0", bytes)]);
        frame
            .value
            .read_named(&["kind"], &frame.context)
            .map(|_| ())
    })
}

/// Reads a sparse matrix: 32 bytes of pointers, 16 bytes of indices, the rest are values.
///
/// # Errors
///
/// What is wrong with it.
pub fn sparse(bytes: &[u8]) -> Result<()> {
    let (pointers, rest) = bytes.split_at(bytes.len().min(32));
    let (indices, values) = rest.split_at(rest.len().min(16));
    SPARSE.with(|matrix| {
        matrix.input.replace([
            ("tables/t/X/indptr/c/0", pointers),
            ("tables/t/X/indices/c/0", indices),
            ("tables/t/X/data/c/0", values),
        ]);
        let rows = matrix.value.read_rows(&(1..2)).map(|_| ());
        let all = matrix.value.read().and_then(|all| all.to_dense_f64());
        all.map(|_| ()).and(rows)
    })
}

/// Reads every column of a Parquet file, with limits of 16 MiB.
///
/// # Errors
///
/// What is wrong with the file.
pub fn parquet(bytes: &[u8]) -> Result<()> {
    let file = Bytes(bytes.into()).open();
    let file = ColumnFile::read_footer(file, "bytes", limits())?;
    columns::read_all(&file)?;
    let root = root_of(Files::default().with_bytes("bytes", bytes));
    Parts::read_file(&root, "bytes").map(drop)
}

/// Reads the header of a page of a Parquet file.
pub fn page_header(bytes: &[u8]) -> bool {
    columns::is_page_header(bytes)
}

/// Reads differences of numbers and texts, as pages hold them.
///
/// The first byte tells the levels before them and how many values there are at most.
pub fn differences(bytes: &[u8]) -> bool {
    columns::read_differences(bytes).is_some()
}

/// Reads the note with the checksums of page headers; the first two bytes tell how many row groups and columns there are.
pub fn note_of_headers(bytes: &[u8]) -> bool {
    columns::is_note_of_headers(bytes)
}

/// Reads the note of pandas in a Parquet file.
///
/// # Errors
///
/// What is wrong with it.
pub fn pandas(bytes: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(bytes);
    let pandas = Pandas::parse("bytes", &text)?;
    let _ = (pandas.index_name(), pandas.column("x"));
    Ok(())
}

/// Reads points whose group has this `zarr.json`.
///
/// # Errors
///
/// What is wrong with them.
pub fn points(bytes: &[u8]) -> Result<()> {
    let root = root_of(VECTORS.replacing("points/a/zarr.json", bytes));
    let node = Node::open(&root, "points/a", ZarrFormat::V3)?;
    let _ = transform::targets(&node.attributes);
    let points = Points::open(&root, "a", &node)?;
    points.read_all()?;
    points.index()?;
    points.coordinates().map(|_| ())
}

fn read_shapes(files: Files, key: &str) -> Result<()> {
    let root = root_of(files);
    let node = Node::open(&root, key, ZarrFormat::V3)?;
    let _ = transform::targets(&node.attributes);
    let shapes = Shapes::open(&root, "a", &node)?;
    let batches = shapes.batches(&[]).map(|all| all.take(2).count());
    let some = shapes.geometries_of(0..1);
    shapes.read_all()?;
    some.and(batches).map(|_| ())
}

/// Reads shapes whose group has this `zarr.json`.
///
/// # Errors
///
/// What is wrong with them.
pub fn shapes(bytes: &[u8]) -> Result<()> {
    read_shapes(VECTORS.replacing("shapes/a/zarr.json", bytes), "shapes/a")
}

/// Reads shapes with this Parquet file, whichever way its geometries are encoded.
///
/// # Errors
///
/// What is wrong with it.
pub fn shapes_file(bytes: &[u8]) -> Result<()> {
    read_shapes(
        VECTORS.replacing("shapes/a/shapes.parquet", bytes),
        "shapes/a",
    )
}

/// Reads shapes of version 0.1: circles where the first byte is a multiple of three, or polygons, or several of them.
///
/// What follows is offsets of rings (40 bytes), polygons (32 bytes) and objects (24 bytes), and coordinates;
/// of circles coordinates (32 bytes), and radii.
///
/// # Errors
///
/// What is wrong with them.
pub fn ragged(bytes: &[u8]) -> Result<()> {
    fn cut<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (bytes, tail) = rest.split_at(rest.len().min(n));
        *rest = tail;
        bytes
    }
    static KINDS: LazyLock<[Files; 2]> = LazyLock::new(|| {
        [3, 6].map(|kind: u64| {
            let about = json!({"version": "0.1", "geos": {"type": kind}});
            let files = VECTORS.clone().with("shapes/a/zarr.json", &vectors(&about));
            if kind == 6 {
                return files;
            }
            // Each polygon is an object.
            let index = array(&[3], "int64", &json!([little()]));
            files
                .with("shapes/a/Index/zarr.json", &index)
                .with_bytes("shapes/a/Index/c/0", &[1; 24])
        })
    });
    let (choice, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
    let Some(kind) = (choice % 3).checked_sub(1) else {
        let coordinates = cut(&mut rest, 32);
        let files = VECTORS
            .replacing("shapes/p/coords/c/0/0", coordinates)
            .replacing("shapes/p/radius/c/0", rest);
        return read_shapes(files, "shapes/p");
    };
    let [rings, polygons, objects] = [40, 32, 24].map(|n| cut(&mut rest, n));
    let files = KINDS[usize::from(kind)]
        .replacing("shapes/a/offset0/c/0", rings)
        .replacing("shapes/a/offset1/c/0", polygons)
        .replacing("shapes/a/offset2/c/0", objects)
        .replacing("shapes/a/coords/c/0/0", rest);
    read_shapes(files, "shapes/a")
}

/// Reads a store in a zip file, which need not be one.
///
/// # Errors
///
/// What is wrong with it.
pub fn zip(bytes: &[u8]) -> Result<()> {
    let file = Bytes(bytes.into()).open();
    let reader = Cursor::new(bytes);
    read_everything(ZipFile::read(reader, file, "bytes".into(), &limits())?)
}

/// Reads a store of Zarr v2 with this `.zattrs`, that of its root, of its image and of the array.
///
/// # Errors
///
/// What is wrong with it.
pub fn zattrs(bytes: &[u8]) -> Result<()> {
    let files = OLD
        .replacing(".zattrs", bytes)
        .replacing("images/a/.zattrs", bytes)
        .replacing("images/a/s0/.zattrs", bytes);
    let root = Root::new(files.clone(), limits());
    let node = Node::open(&root, "images/a", ZarrFormat::V2)?;
    let store = Store::from_root(root).and_then(|store| store.coordinate_systems());
    store.and(open_and_read_image(files, &node))
}

/// Reads a store of Zarr v2 with this `.zmetadata`.
///
/// # Errors
///
/// What is wrong with it.
pub fn zmetadata(bytes: &[u8]) -> Result<()> {
    let root = Root::new(OLD.replacing(".zmetadata", bytes), limits());
    Store::from_root(root)?.stale_metadata().map(|_| ())
}

/// Reads a geometry in well-known binary.
///
/// # Errors
///
/// What is wrong with it.
pub fn wkb(bytes: &[u8]) -> Result<()> {
    crate::shapes::read_wkb(bytes)
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
mod tests;
