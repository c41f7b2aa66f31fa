//! The targets with sound input, with what was kept of former runs, and with some mutations.

mod refusals;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};

use ::zip::CompressionMethod;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use phenocoder_core::Seed;

use super::*;
use crate::array::encode_texts;
use crate::{ContainerVersion, Error, Geometries, ShapesData, ShapesWriteOptions};

type Target = fn(&[u8]) -> Result<()>;

/// Every target, with its name.
const TARGETS: [(&str, Target); 25] = [
    ("root", root),
    ("array_v3", array_v3),
    ("array_v2", array_v2),
    ("multiscale", multiscale),
    ("chunk", chunk),
    ("shard", shard),
    ("table", table),
    ("data_frame", data_frame),
    ("texts", texts),
    ("categories", categories),
    ("sparse", sparse),
    ("parquet", parquet),
    ("page_header", |bytes| found(page_header(bytes))),
    ("differences", |bytes| found(differences(bytes))),
    ("note_of_headers", |bytes| found(note_of_headers(bytes))),
    ("pandas", pandas),
    ("points", points),
    ("shapes", shapes),
    ("shapes_file", shapes_file),
    ("ragged", ragged),
    ("zip", zip),
    ("zattrs", zattrs),
    ("zmetadata", zmetadata),
    ("wkb", wkb),
    ("transformations", transformations),
];

fn found(is_found: bool) -> Result<()> {
    is_found
        .then_some(())
        .ok_or_else(|| Error::missing("bytes", "what was looked for"))
}

fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("no target {name}")).1
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Sound inputs, with the names of their targets.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let file = |files: &Files, key: &str| files.get(key).unwrap().0.to_vec();
    let mut seeds = vec![
        ("root", file(&IMAGE, "zarr.json")),
        ("multiscale", file(&IMAGE, "images/a/zarr.json")),
        ("table", file(&TABLE, "tables/t/zarr.json")),
        ("data_frame", file(&TABLE, "tables/t/obs/zarr.json")),
        ("texts", encode_texts(&["a", "b", "c"])),
        ("texts", encode_texts(&["", "größer", ""])),
        ("categories", vec![0, 1, 255]),
        (
            "sparse",
            [
                file(&TABLE, "tables/t/X/indptr/c/0"),
                file(&TABLE, "tables/t/X/indices/c/0"),
                vec![0; 16],
            ]
            .concat(),
        ),
    ];
    seeds.push(("root", json_bytes(&consolidated_root())));
    seeds.push(("multiscale", json_bytes(&rich_multiscale())));
    seeds.extend(arrays_v3().iter().map(|a| ("array_v3", json_bytes(a))));
    seeds.extend(arrays_v2().iter().map(|a| ("array_v2", json_bytes(a))));
    seeds.extend(chunks().into_iter().map(|bytes| ("chunk", bytes)));
    for used in [16, 3] {
        let stored = [0_u64.to_le_bytes(), 8_u64.to_le_bytes()].concat();
        let mut index = stored.repeat(used);
        index.resize(16 * 16, 255);
        seeds.push(("shard", [vec![1; 8], index].concat()));
    }
    for bytes in parquet_files() {
        // The first page begins behind the magic number.
        seeds.push(("page_header", bytes[4..bytes.len().min(260)].to_vec()));
        seeds.push(("parquet", bytes));
    }
    seeds.extend(geometries().into_iter().map(|bytes| ("wkb", bytes)));
    seeds.push(("differences", differences_of_texts()));
    seeds.push((
        "note_of_headers",
        b"\x02\x0200000001ffffffff,,;,0000abcd,;".to_vec(),
    ));
    for bytes in shapes_files() {
        seeds.push(("parquet", bytes.clone()));
        seeds.push(("shapes_file", bytes));
    }
    let notes = ["points/a/zarr.json", "shapes/a/zarr.json"].map(|key| file(&VECTORS, key));
    let [points, shapes] = notes;
    seeds.push(("points", points));
    seeds.push(("points", json_bytes(&points_group())));
    seeds.push(("shapes", shapes));
    for (version, kind) in [("0.1", 6), ("0.3", 0)] {
        let mut attributes = json!({
            "axes": ["x", "y"], "encoding-type": "ngff:shapes",
            "spatialdata_attrs": {"version": version, "geos": {"name": "X", "type": kind}},
        });
        attributes["coordinateTransformations"] = lists_of_transformations()[2].clone();
        seeds.push(("shapes", json_bytes(&group(&attributes))));
    }
    seeds.push(("pandas", json_bytes(&pandas_note())));
    seeds.extend(ragged_shapes().into_iter().map(|bytes| ("ragged", bytes)));
    for top in ["", "s.zarr/"] {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            seeds.push(("zip", zipped(&IMAGE, top, method)));
        }
    }
    seeds.push(("zattrs", json_bytes(&json!({"multiscales": multiscales()}))));
    seeds.push(("zmetadata", json_bytes(&old_consolidated())));
    seeds.extend(
        lists_of_transformations()
            .iter()
            .map(|list| ("transformations", json_bytes(list))),
    );
    seeds
}

/// Prefixes of 0 and suffixes of 7 bytes of five texts, behind the byte that says so.
fn differences_of_texts() -> Vec<u8> {
    let prefixes = [&[0x80, 0x01, 4, 5, 0, 0, 3, 0, 0, 0, 7][..], &[0; 11]].concat();
    let suffixes = [0x80, 0x01, 4, 5, 14, 13, 3, 0, 0, 0, 0xF8, 0x0F];
    [&[4][..], &prefixes, &suffixes, &[0; 10]].concat()
}

fn points_group() -> Value {
    group(&json!({
        "axes": ["x", "y"], "encoding-type": "ngff:points",
        "coordinateTransformations": lists_of_transformations()[2],
        "spatialdata_attrs": {"version": "0.2", "feature_key": "gene", "instance_key": "cell"},
    }))
}

fn pandas_note() -> Value {
    json!({
        "index_columns": ["__index_level_0__"], "column_indexes": [], "pandas_version": "2.2.0",
        "columns": [
            {"name": "x", "field_name": "x", "pandas_type": "float64", "numpy_type": "float64", "metadata": null},
            {"name": "k", "field_name": "k", "pandas_type": "categorical", "numpy_type": "int8",
             "metadata": {"num_categories": 2, "ordered": true}},
            {"name": null, "field_name": "__index_level_0__", "pandas_type": "int64", "numpy_type": "int64"},
        ],
    })
}

/// Circles, polygons, and objects of several polygons.
fn ragged_shapes() -> Vec<Vec<u8>> {
    let stored = |key: &str| VECTORS.get(key).unwrap().0.to_vec();
    let circles = ["shapes/p/coords/c/0/0", "shapes/p/radius/c/0"].map(stored);
    let polygons = [
        "shapes/a/offset0/c/0",
        "shapes/a/offset1/c/0",
        "shapes/a/offset2/c/0",
        "shapes/a/coords/c/0/0",
    ];
    let polygons = polygons.map(stored).concat();
    vec![
        [&[0][..], &circles.concat()].concat(),
        [&[1][..], &polygons].concat(),
        [&[2][..], &polygons].concat(),
    ]
}

fn zipped(files: &Files, top: &str, method: CompressionMethod) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
    for (key, bytes) in files.iter() {
        writer.start_file(format!("{top}{key}"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn old_consolidated() -> Value {
    let nodes = OLD.iter().filter(|(key, _)| key.contains(".z"));
    let nodes: serde_json::Map<String, Value> = nodes
        .map(|(key, bytes)| (key.to_owned(), serde_json::from_slice(bytes).unwrap()))
        .collect();
    json!({"zarr_consolidated_format": 1, "metadata": nodes})
}

/// Geometries in well-known binary and natively, as others and as this crate write them.
fn shapes_files() -> Vec<Vec<u8>> {
    let ends = |n: &[i32]| OffsetBuffer::new(n.to_vec().into());
    let number = |n: &[f64]| Arc::new(Float64Array::from(n.to_vec())) as ArrayRef;
    let field =
        |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
    let vertices = |x: &[f64]| -> ArrayRef {
        let columns = ["x", "y"].map(|name| (field(name, &number(x)), number(x)));
        Arc::new(StructArray::from(columns.to_vec()))
    };
    let list = |ends: OffsetBuffer<i32>, items: ArrayRef| -> ArrayRef {
        Arc::new(ListArray::new(field("item", &items), ends, items, None))
    };
    let rings = list(
        ends(&[0, 4, 8]),
        vertices(&[0., 1., 1., 0., 5., 6., 6., 5.]),
    );
    let polygons = list(ends(&[0, 1, 2]), rings);
    let several = list(ends(&[0, 2]), polygons.clone());
    let radius = || ("radius", number(&[1.0, 2.0]));
    let circles = vec![("geometry", vertices(&[1.0, 2.0])), radius()];
    let geo = |encoding: &str, kind: &str| {
        json!({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {
            "encoding": encoding, "geometry_types": [kind],
        }}})
    };
    let stored = |columns, encoding, kind| parquet_file(columns, ("geo", &geo(encoding, kind)));
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02).unwrap();
    let own = ShapesData::new(Geometries::from_points(2, &[1.0, 2.0, 3.0, 4.0]).unwrap());
    let own = own.with_columns(RecordBatch::try_from_iter([radius()]).unwrap());
    let options = ShapesWriteOptions::default();
    store.write_shapes("a", &own, &options).unwrap();
    vec![
        VECTORS.get("shapes/a/shapes.parquet").unwrap().0.to_vec(),
        stored(circles, "point", "Point"),
        stored(vec![("geometry", polygons)], "polygon", "Polygon"),
        stored(vec![("geometry", several)], "multipolygon", "MultiPolygon"),
        std::fs::read(folder.path().join("s.zarr/shapes/a/shapes.parquet")).unwrap(),
    ]
}

fn consolidated_root() -> Value {
    let node = |key: &str| -> Value {
        serde_json::from_slice(&IMAGE.get(&format!("{key}/zarr.json")).unwrap().0).unwrap()
    };
    let mut root = group(&json!({"spatialdata_attrs": {"version": "0.2"}}));
    root["consolidated_metadata"] = json!({"kind": "inline", "must_understand": false, "metadata": {
        "images": node("images"), "images/a": node("images/a"), "images/a/s0": node("images/a/s0"),
    }});
    root
}

fn rich_multiscale() -> Value {
    let mut multiscales = multiscales();
    multiscales[0]["coordinateTransformations"] = lists_of_transformations()[1].clone();
    group(&json!({"spatialdata_attrs": {"version": "0.3"}, "ome": {
        "version": "0.5-dev-spatialdata", "multiscales": multiscales,
        "omero": {"channels": [{"label": "DAPI", "color": "0000FF", "window": {"start": 0, "end": 9}}]},
    }}))
}

/// Arrays of 128 bytes, as their one chunk has so many, and some of which it is no chunk.
fn arrays_v3() -> Vec<Value> {
    let zstd = json!({"name": "zstd", "configuration": {"level": 0, "checksum": false}});
    let gzip = json!({"name": "gzip", "configuration": {"level": 1}});
    let big = json!({"name": "bytes", "configuration": {"endian": "big"}});
    let transpose = json!({"name": "transpose", "configuration": {"order": [2, 1, 0]}});
    let sharding = json!({"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 4, 4], "codecs": [little()],
        "index_codecs": [little(), {"name": "crc32c"}], "index_location": "end",
    }});
    let named =
        |name: &str, configuration: Value| json!({"name": name, "configuration": configuration});
    let row = |data_type: Value, fill: Value, shape: &[usize], codecs: Value| {
        let mut array = array(shape, "int8", &codecs);
        array["data_type"] = data_type;
        array["fill_value"] = fill;
        array
    };
    let zero = || json!(0);
    let utf32 = named("fixed_length_utf32", json!({"length_bytes": 8}));
    let time = named("numpy.datetime64", json!({"unit": "ns", "scale_factor": 1}));
    let text = named("null_terminated_bytes", json!({"length_bytes": 4}));
    let record = named(
        "struct",
        json!({"fields": [["a", "int32"], ["b", "float32"]]}),
    );
    vec![
        row(json!("uint16"), zero(), &[1, 8, 8], json!([little()])),
        row(json!("float32"), json!("NaN"), &[1, 4, 8], json!([big])),
        row(
            json!("uint8"),
            zero(),
            &[1, 8, 16],
            json!([transpose, "bytes"]),
        ),
        row(
            json!("float16"),
            zero(),
            &[1, 8, 8],
            json!([little(), zstd]),
        ),
        row(
            json!("bool"),
            json!(false),
            &[1, 8, 8],
            json!([{"name": "bytes"}, gzip]),
        ),
        row(
            json!("string"),
            json!(""),
            &[3],
            json!([{"name": "vlen-utf8"}]),
        ),
        row(json!("int64"), json!(-1), &[1, 8, 8], json!([sharding])),
        row(utf32, json!(""), &[16], json!([little()])),
        row(time, zero(), &[16], json!([little()])),
        row(text, json!(""), &[32], json!([little()])),
        row(record, json!("AAAAAAAAAAA="), &[16], json!([little()])),
    ]
}

fn arrays_v2() -> Vec<Value> {
    let zarray = |data_type: Value, fill: Value, shape: &[usize]| {
        json!({
            "zarr_format": 2, "shape": shape, "chunks": shape, "dtype": data_type, "compressor": null,
            "fill_value": fill, "order": "C", "filters": null, "dimension_separator": "/",
        })
    };
    let zero = || json!(0);
    let mut big = zarray(json!(">i4"), json!(-1), &[1, 4, 8]);
    big["order"] = json!("F");
    big["dimension_separator"] = json!(".");
    let mut blosc = zarray(json!("<u2"), zero(), &[1, 8, 8]);
    blosc["compressor"] =
        json!({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0});
    let mut shuffled = zarray(json!("<f8"), json!("NaN"), &[1, 4, 4]);
    shuffled["filters"] = json!([{"id": "shuffle", "elementsize": 8}]);
    let mut texts = zarray(json!("|O"), json!(""), &[3]);
    texts["filters"] = json!([{"id": "vlen-utf8"}]);
    vec![
        zarray(json!("<u2"), zero(), &[1, 8, 8]),
        big,
        blosc,
        shuffled,
        texts,
        zarray(json!("<U4"), json!(""), &[8]),
        zarray(json!("|S4"), json!(""), &[32]),
        zarray(json!("<M8[ns]"), zero(), &[16]),
        zarray(
            json!([["a", "<i4"], ["b", "<f4"]]),
            json!("AAAAAAAAAAA="),
            &[16],
        ),
    ]
}

/// Chunks in each of the codecs that [`chunk`] knows.
fn chunks() -> Vec<Vec<u8>> {
    let plain: Vec<u8> = (0..64_u16).flat_map(|i| (i / 3).to_le_bytes()).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&plain).unwrap();
    let size = (plain.len() as u32).to_le_bytes();
    let lz4 = [&size[..], &lz4_flex::block::compress(&plain)].concat();
    let with_crc = [&plain[..], &crc32c::crc32c(&plain).to_le_bytes()].concat();
    let sums = plain.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let adler = [&((sums.1 << 16) | sums.0).to_le_bytes()[..], &plain].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    let with_crc32 = [&crc.sum().to_le_bytes()[..], &plain].concat();
    let blosc = |flags: u8, typesize: u8| {
        // Stored as it is: the header, then the bytes.
        let stored = (plain.len() as u32 + 16).to_le_bytes();
        [
            &[2, 1, flags | 2, typesize][..],
            &size,
            &size,
            &stored,
            &plain,
        ]
        .concat()
    };
    let mut chunks = vec![
        (0, zstd::encode_all(&plain[..], 0).unwrap()),
        (1, gzip.finish().unwrap()),
        (2, zlib.finish().unwrap()),
        (3, lz4),
        (4, with_crc.clone()),
        (5, with_crc),
        (6, adler),
        (7, with_crc32),
        (8, blosc(1, 2)),
        (9, blosc(4, 4)),
    ];
    // Blosc with one compressed block: header, where the block begins, its size, its bytes.
    let block = lz4_flex::block::compress(&plain);
    let head = [2, 1, 0x30, 2];
    let stored = (16 + 4 + 4 + block.len() as u32).to_le_bytes();
    let start = 20_u32.to_le_bytes();
    let length = (block.len() as u32).to_le_bytes();
    chunks.push((
        8,
        [&head[..], &size, &size, &stored, &start, &length, &block].concat(),
    ));
    chunks
        .into_iter()
        .map(|(choice, bytes)| [&[choice][..], &bytes].concat())
        .collect()
}

fn parquet_files() -> Vec<Vec<u8>> {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.5, -1.0, 2.0]));
    let whole: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
    let point: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Float64, true)),
            Arc::clone(&numbers),
        ),
        (
            Arc::new(Field::new("y", DataType::Float64, true)),
            Arc::clone(&numbers),
        ),
    ]));
    let batches = [
        vec![("x", numbers), ("i", whole)],
        vec![("g", texts), ("t", truths)],
        vec![("geometry", point)],
    ];
    let properties = || WriterProperties::builder().set_created_by("x".to_owned());
    let kinds = [
        properties().set_compression(Compression::UNCOMPRESSED),
        properties()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(false),
        properties()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_writer_version(WriterVersion::PARQUET_2_0),
        // Numbers and texts as differences.
        properties()
            .set_dictionary_enabled(false)
            .set_writer_version(WriterVersion::PARQUET_2_0),
    ];
    let mut files = Vec::new();
    // Of other programs, with LZ4, gzip, checksums of pages and repeated texts; absent in a packaged crate.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet");
    for name in [
        "duckdb_v2",
        "fastparquet_gzip",
        "polars_lz4",
        "pyarrow_delta",
        "pyarrow_v2_checksums",
    ] {
        files.extend(std::fs::read(folder.join(name).with_extension("parquet")));
    }
    for batch in batches {
        let batch = RecordBatch::try_from_iter(batch).unwrap();
        for properties in kinds.clone() {
            let mut writer =
                ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
            writer.write(&batch).unwrap();
            files.push(writer.into_inner().unwrap());
        }
    }
    files
}

fn geometries() -> Vec<Vec<u8>> {
    let head = |kind: u32| [&[1][..], &kind.to_le_bytes()].concat();
    let numbers = |n: &[f64]| n.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let one = 1_u32.to_le_bytes();
    let ring = [
        &4_u32.to_le_bytes()[..],
        &numbers(&[0., 0., 1., 0., 1., 1., 0., 0.]),
    ]
    .concat();
    let polygon = [head(3), one.to_vec(), ring].concat();
    let solid = numbers(&[0., 0., 5., 1., 0., 5., 1., 1., 5., 0., 0., 5.]);
    let big = [
        &[0, 0, 0, 0, 1][..],
        &1.5_f64.to_be_bytes(),
        &2.5_f64.to_be_bytes(),
    ]
    .concat();
    vec![
        [head(1), numbers(&[1.0, 2.0])].concat(),
        [head(1001), numbers(&[1.0, 2.0, 3.0])].concat(),
        [head(6), one.to_vec(), polygon.clone()].concat(),
        polygon,
        [
            head(1003),
            one.to_vec(),
            4_u32.to_le_bytes().to_vec(),
            solid,
        ]
        .concat(),
        big,
    ]
}

fn lists_of_transformations() -> Vec<Value> {
    let axes = json!([{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]);
    let side = |name: &str| json!({"name": name, "axes": axes});
    let sides = |mut map: Value, output: &str| {
        map["input"] = side("yx");
        map["output"] = side(output);
        map
    };
    let channel = json!([{"name": "c", "type": "channel"}, axes[0], axes[1]]);
    let image = |mut map: Value, output: &str| {
        map["input"] = json!({"name": "cyx", "axes": channel});
        map["output"] = json!({"name": output, "axes": channel});
        map
    };
    let affine = json!({"type": "affine", "affine": [[1.0, 0.5, 2.0], [0.0, 3.0, 1.0]]});
    let steps = json!([
        sides(json!({"type": "scale", "scale": [2.0, 3.0]}), "yx"),
        sides(
            json!({"type": "translation", "translation": [1.0, -1.0]}),
            "yx"
        ),
        sides(
            json!({"type": "mapAxis", "mapAxis": {"x": "y", "y": "x"}}),
            "yx"
        ),
        sides(affine.clone(), "yx"),
    ]);
    vec![
        multiscales()[0]["coordinateTransformations"].clone(),
        json!([
            image(json!({"type": "scale", "scale": [1.0, 2.0, 3.0]}), "global"),
            image(json!({"type": "identity"}), "other"),
        ]),
        json!([
            sides(affine, "aligned"),
            sides(
                json!({"type": "sequence", "transformations": steps}),
                "global"
            ),
        ]),
    ]
}

/// Where the inputs are that were kept; absent in a packaged crate.
fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    folder.is_dir().then_some(folder)
}

#[test]
fn sound_input_is_read() {
    let mut failed = Vec::new();
    for (files, n) in [(&*IMAGE, 1), (&*TABLE, 1), (&*VECTORS, 3), (&*OLD, 1)] {
        let store = Store::from_root(Root::new(files.clone(), limits())).unwrap();
        assert_eq!(store.elements().len(), n);
        let found = crate::validate(&store).into_iter();
        let found = found.filter(|violation| !violation.is_warning);
        failed.extend(found.map(|violation| violation.problem));
        let found = crate::verify(&store, &NoProgress).unwrap();
        failed.extend(found.violations.into_iter().map(|v| v.problem));
        assert!(found.chunks > 0);
    }
    let seeds = seeds();
    for (i, (name, input)) in seeds.iter().enumerate() {
        match target(name)(input) {
            Ok(()) => {}
            // All arrays share one chunk, which is none of those with codecs.
            Err(Error::CorruptChunk { .. } | Error::Checksum { .. })
                if name.starts_with("array") => {}
            Err(error) => failed.push(format!("{name} {i}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    for (name, _) in TARGETS {
        assert!(seeds.iter().any(|(target, _)| *target == name), "{name}");
    }
}

/// With `PHENOCODER_FUZZ_SEEDS`, a folder, writes the sound inputs there, from which fuzzing starts.
#[test]
fn sound_input_is_written_for_the_fuzzer() {
    let Some(folder) = std::env::var_os("PHENOCODER_FUZZ_SEEDS") else {
        return;
    };
    for (target, _) in TARGETS {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder).unwrap();
        let seeds = seeds().into_iter().filter(|(name, _)| *name == target);
        for (i, (_, input)) in seeds.enumerate() {
            std::fs::write(folder.join(format!("sound-{i}")), input).unwrap();
        }
    }
}

#[test]
fn every_input_that_was_kept_is_survived() {
    let Some(corpus) = corpus() else {
        println!("skipped: fuzz/corpus is not here");
        return;
    };
    let watch = Watch::new();
    for (name, target) in TARGETS {
        let mut kept = 0;
        for entry in std::fs::read_dir(corpus.join(name)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            // Any error will do.
            let _ = target(&bytes);
            kept += 1;
        }
        assert!(kept > 0, "{name}");
    }
    watch.assert_none();
}

/// Counts panics of our own code, of which those within the parquet crate's decoders are caught.
struct Watch(usize);

static OWN_PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Watch {
    fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                let file = panic.location().map_or("", |place| place.file());
                // A check of a test that fails is none of them.
                let is_own = file.contains("phenocoder") && !file.contains("/registry/");
                if is_own && !file.contains("tests") {
                    OWN_PANICS.lock().unwrap().push(panic.to_string());
                }
                usual(panic);
            }));
        });
        Self(OWN_PANICS.lock().unwrap().len())
    }

    fn assert_none(&self) {
        let panics = OWN_PANICS.lock().unwrap();
        assert!(panics.len() == self.0, "{:#?}", &panics[self.0..]);
    }
}

/// The findings that were kept; none of them may be read, as each is damaged.
fn findings() -> Vec<(&'static str, PathBuf)> {
    let Some(corpus) = corpus() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (target, _) in TARGETS {
        for entry in std::fs::read_dir(corpus.join(target)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("found-") {
                findings.push((target, entry.path()));
            }
        }
    }
    findings
}

/// Not run by itself: the child whose memory is measured.
#[test]
fn child_that_reads_a_finding() {
    let Ok(name) = std::env::var("PHENOCODER_FUZZ_FINDING") else {
        return;
    };
    let (name, path) = name.split_once(':').unwrap();
    let bytes = std::fs::read(path).unwrap();
    for (_, sound) in seeds().iter().filter(|(target, _)| *target == name) {
        // What it costs to read sound input is not counted; what comes of it is another test's.
        let _ = target(name)(sound);
    }
    let before = peak();
    let error = target(name)(&bytes).unwrap_err();
    println!("grew by {} bytes: {error:?}", peak() - before);
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn findings_are_typed_errors_that_cost_no_more_than_the_limits() {
    for (target, path) in findings() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "fuzz::tests::child_that_reads_a_finding",
                "--nocapture",
            ])
            .env(
                "PHENOCODER_FUZZ_FINDING",
                format!("{target}:{}", path.display()),
            )
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}{said}", path.display());
        let (_, found) = text.split_once("grew by ").unwrap();
        let (grown, error) = found.split_once(" bytes: ").unwrap();
        assert!(
            grown.parse::<u64>().unwrap() < 32 << 20,
            "{}: {text}",
            path.display()
        );
        let is_typed = ["CorruptChunk", "TooLarge", "Checksum"];
        let is_typed = is_typed.iter().any(|name| error.starts_with(name));
        assert!(is_typed, "{}: {error}", path.display());
    }
}

/// Targets, their programs and what Cargo knows of them.
#[test]
fn every_target_has_its_program() {
    let Some(corpus) = corpus() else {
        return;
    };
    let folder = corpus.parent().unwrap();
    let mut expected: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    let files = std::fs::read_dir(folder.join("fuzz_targets")).unwrap();
    let mut programs: Vec<String> = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.contains(&format!("target!({name});")), "{name}");
        programs.push(name);
    }
    programs.sort_unstable();
    assert_eq!(programs, expected);
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let bins = manifest.split("[[bin]]").skip(1);
    let mut bins: Vec<&str> = bins.map(|bin| bin.split('"').nth(1).unwrap()).collect();
    bins.sort_unstable();
    assert_eq!(bins, expected);
}

#[test]
fn mutated_input_never_panics() {
    let watch = Watch::new();
    let mut stream = Seed::new(5).stream("fuzz", 0);
    for (name, input) in seeds() {
        for _ in 0..100 {
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
            let _ = target(name)(&bytes);
        }
    }
    watch.assert_none();
}
