//! Parquet files of other writers, which are read, and hostile ones, which cost next to nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite};
use parquet::schema::parser::parse_message_type;
use phenocoder_core::NoProgress;
use phenocoder_io::{
    ContainerVersion, Error, OpenOptions, PointsData, PointsWriteOptions, ShapesData,
    ShapesWriteOptions, Store, read_parquet, read_parquet_with, verify, write_parquet,
};
use serde_json::json;

use super::vector::{points, polygons};

/// Puts another file in the place of an element's.
fn store_with(folder: &Path, element: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let place = if element == "points" {
        let options = PointsWriteOptions::default();
        let columns = points(4).columns.project(&[0, 1]).unwrap();
        let data = PointsData::new(columns);
        store.write_points("e", &data, &options).unwrap();
        path.join("points/e/points.parquet/part.0.parquet")
    } else {
        let data = ShapesData::new(polygons());
        store
            .write_shapes("e", &data, &ShapesWriteOptions::default())
            .unwrap();
        path.join("shapes/e/shapes.parquet")
    };
    (path, place)
}

#[test]
fn files_of_other_writers_are_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet");
    let mut files: Vec<_> = fs::read_dir(data)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 12);
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = store_with(folder.path(), "points");
        fs::copy(&file, &place).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let store = Store::open(&path).unwrap();
        let points = store.points("e").unwrap();
        let all = points.read(&["x", "y", "gene", "note"]).unwrap();
        let x = Float64Array::from_iter_values((0..300).map(|i| f64::from(i) * 0.5));
        assert_eq!(all.column(0).as_ref(), &x as &dyn Array, "{name}");
        let y = Int64Array::from_iter_values((0..300).map(|i| i - 100));
        assert_eq!(all.column(1).as_ref(), &y as &dyn Array, "{name}");
        let gene = cast(all.column(2), &DataType::Utf8).unwrap();
        let note = all.column(3).as_string::<i32>();
        for (row, gene) in gene.as_string::<i32>().iter().enumerate() {
            let expected = if row % 3 == 0 { "alpha" } else { "beta" };
            assert_eq!(gene, Some(expected), "{name}");
            let expected = (row % 5 != 0).then(|| format!("note {}", row / 7));
            assert_eq!(
                note.is_valid(row).then(|| note.value(row).to_owned()),
                expected,
                "{name}"
            );
        }
        let found = verify(&store, &NoProgress).unwrap();
        assert!(found.violations.is_empty(), "{name}: {found:?}");
        // Whoever writes checksums of pages has none of the footer.
        let expected = if name.contains("checksums") {
            1
        } else {
            found.chunks
        };
        assert_eq!(found.without_checksum, expected, "{name}");
        assert!(found.chunks >= 5, "{name}");
    }
}

/// A column of one row group, page by page.
struct Column {
    pages: Vec<Page>,
    /// The size of each page once unpacked, where it is not that of its bytes.
    unpacked: Vec<usize>,
    values: i64,
    unpacked_in_footer: i64,
    encodings: Vec<Encoding>,
}

fn packed(bytes: &[u8]) -> Bytes {
    zstd::bulk::compress(bytes, 3).unwrap().into()
}

impl Column {
    fn new(values: i64) -> Self {
        Self {
            pages: Vec::new(),
            unpacked: Vec::new(),
            values,
            unpacked_in_footer: 0,
            encodings: vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY],
        }
    }

    /// Has the footer tell of another encoding.
    fn telling(mut self, encoding: Encoding) -> Self {
        self.encodings.push(encoding);
        self
    }

    fn add(mut self, page: Page, unpacked: usize) -> Self {
        self.pages.push(page);
        self.unpacked.push(unpacked);
        self.unpacked_in_footer += unpacked as i64 + 100;
        self
    }

    fn dictionary(self, n: u32, bytes: &[u8]) -> Self {
        let page = Page::DictionaryPage {
            buf: packed(bytes),
            num_values: n,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.add(page, bytes.len())
    }

    fn data(self, n: u32, encoding: Encoding, bytes: &[u8]) -> Self {
        let page = Page::DataPage {
            buf: packed(bytes),
            num_values: n,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.add(page, bytes.len())
    }

    /// One value, `n` times.
    fn same(n: u32, value: &[u8]) -> Self {
        Self::new(n.into()).dictionary(1, value).data(
            n,
            Encoding::RLE_DICTIONARY,
            &[&[1][..], &run(n, 0)].concat(),
        )
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A run of a value of up to 8 bits.
fn run(n: u32, value: u8) -> Vec<u8> {
    [varint(u64::from(n) << 1), vec![value]].concat()
}

/// Levels as a data page of the first version has them.
fn levels(runs: &[Vec<u8>]) -> Vec<u8> {
    let runs = runs.concat();
    [(runs.len() as u32).to_le_bytes().to_vec(), runs].concat()
}

/// Numbers as differences, 32 in a miniblock, 4 of them in a block.
fn differences(values: &[i64]) -> Vec<u8> {
    let zigzag = |value: i64| varint(((value << 1) ^ (value >> 63)) as u64);
    let mut out = [
        vec![0x80, 0x01, 4],
        varint(values.len() as u64),
        zigzag(values[0]),
    ]
    .concat();
    let steps: Vec<i64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for block in steps.chunks(128) {
        let least = *block.iter().min().unwrap();
        out.extend(zigzag(least));
        let miniblocks: Vec<&[i64]> = block.chunks(32).collect();
        let width = |block: &[i64]| {
            let most = block
                .iter()
                .map(|step| (step - least) as u64)
                .max()
                .unwrap();
            64 - most.leading_zeros()
        };
        for at in 0..4 {
            out.push(miniblocks.get(at).map_or(0, |block| width(block)) as u8);
        }
        for block in miniblocks {
            let width = width(block);
            let mut bits = vec![0_u8; 4 * width as usize];
            for (at, step) in block.iter().enumerate() {
                for bit in 0..width as usize {
                    let set = ((step - least) as u64 >> bit & 1) as u8;
                    let place = at * width as usize + bit;
                    bits[place / 8] |= set << (place % 8);
                }
            }
            out.extend(bits);
        }
    }
    out
}

fn write(place: &Path, schema: &str, rows: u64, columns: Vec<Column>, notes: &[(&str, &str)]) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let codec = Compression::ZSTD(ZstdLevel::default());
    let notes = notes
        .iter()
        .map(|(k, v)| KeyValue::new((*k).to_owned(), (*v).to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_key_value_metadata(Some(notes.collect()))
        .build();
    let file = fs::File::create(place).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let descriptions = writer.schema_descr().columns().to_vec();
    let mut group = writer.next_row_group().unwrap();
    for (column, description) in columns.into_iter().zip(descriptions) {
        let mut sink = TrackedWrite::new(Vec::new());
        let mut pages = SerializedPageWriter::new(&mut sink);
        let (mut dictionary_at, mut data_at) = (None, None);
        for (page, unpacked) in column.pages.into_iter().zip(column.unpacked) {
            let is_dictionary = matches!(page, Page::DictionaryPage { .. });
            let spec = pages
                .write_page(CompressedPage::new(page, unpacked))
                .unwrap();
            let at = if is_dictionary {
                &mut dictionary_at
            } else {
                &mut data_at
            };
            at.get_or_insert(spec.offset as i64);
        }
        pages.close().unwrap();
        let bytes = Bytes::from(sink.into_inner().unwrap());
        let metadata = ColumnChunkMetaData::builder(description)
            .set_compression(codec)
            .set_encodings(column.encodings)
            .set_num_values(column.values)
            .set_total_uncompressed_size(column.unpacked_in_footer)
            .set_total_compressed_size(bytes.len() as i64)
            .set_dictionary_page_offset(dictionary_at)
            .set_data_page_offset(data_at.unwrap())
            .build()
            .unwrap();
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        group.append_column(&bytes, close).unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

const MIB: usize = 1 << 20;
const ROWS: u32 = 40_000;

/// A text of a mebibyte with its length.
fn long_text() -> Vec<u8> {
    [(MIB as u32).to_le_bytes().to_vec(), vec![b'a'; MIB]].concat()
}

/// A polygon of a mebibyte in well-known binary, with the length of that.
fn long_polygon() -> Vec<u8> {
    let n = (MIB / 16) as u32;
    let head = [&[1, 3, 0, 0, 0, 1, 0, 0, 0][..], &n.to_le_bytes()].concat();
    let bytes = [head, vec![0; MIB]].concat();
    [(bytes.len() as u32).to_le_bytes().to_vec(), bytes].concat()
}

const POINTS: &str =
    "message m { required double x; required double y; required binary t (STRING); }";
const NUMBERS: &str = "message m { required double x; required double y; required int32 t; }";
const TRUTHS: &str = "message m { required double x; required double y; required boolean t; }";
const WKB: &str = "message m { required binary geometry; }";
const NATIVE: &str = "message m { required group geometry (LIST) { repeated group list { required group element (LIST) { \
    repeated group list { required group element { required double x; required double y; } } } } } }";

const GEO_WKB: (&str, &str) = (
    "geo",
    r#"{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}"#,
);
const GEO_NATIVE: (&str, &str) = (
    "geo",
    r#"{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "polygon"}}}"#,
);
const CATEGORICAL: (&str, &str) = (
    "pandas",
    r#"{"index_columns": [], "columns": [{"name": "t", "field_name": "t", "pandas_type": "categorical",
        "numpy_type": "int8", "metadata": {"num_categories": 1, "ordered": false}}]}"#,
);

/// Points of which the third column is hostile.
fn hostile_points(place: &Path, schema: &str, rows: u32, column: Column, notes: &[(&str, &str)]) {
    let number = || Column::same(rows, &1.5_f64.to_le_bytes());
    write(
        place,
        schema,
        rows.into(),
        vec![number(), number(), column],
        notes,
    );
}

/// A vertex of one object, over and over.
fn vertices(n: u32, claimed: i64) -> Column {
    let repetitions = levels(&[run(1, 0), run(n - 1, 2)]);
    let page = [repetitions, levels(&[run(n, 2)]), vec![1], run(n, 0)].concat();
    let mut column = Column::new(claimed);
    column = column.dictionary(1, &1.5_f64.to_le_bytes());
    column.data(n, Encoding::RLE_DICTIONARY, &page)
}

/// Texts that each repeat the last one; the first is a mebibyte.
fn repeating_texts(n: u32) -> Vec<u8> {
    let (n, long) = (n as usize, MIB as i64);
    let mut prefixes = vec![long; n];
    prefixes[0] = 0;
    let mut suffixes = vec![0; n];
    suffixes[0] = long;
    [
        differences(&prefixes),
        differences(&suffixes),
        vec![b'a'; MIB],
    ]
    .concat()
}

/// What is written, and the most mebibytes that reading it may take.
type Case = (&'static str, &'static str, u64, fn(&Path));

const CASES: [Case; 12] = [
    (
        "a dictionary of one long text, 40,000 times",
        "points",
        160,
        |place| {
            let texts = Column::same(ROWS, &long_text());
            hostile_points(place, POINTS, ROWS, texts, &[]);
        },
    ),
    (
        "a category of one long text, then texts",
        "points",
        160,
        |place| {
            let mut texts = Column::same(ROWS, &long_text());
            texts.values += 1;
            texts = texts.data(1, Encoding::PLAIN, &[1, 0, 0, 0, b'b']);
            hostile_points(place, POINTS, ROWS + 1, texts, &[CATEGORICAL]);
        },
    ),
    (
        "a dictionary of one large geometry, 40,000 times",
        "shapes",
        160,
        |place| {
            write(
                place,
                WKB,
                ROWS.into(),
                vec![Column::same(ROWS, &long_polygon())],
                &[GEO_WKB],
            );
        },
    ),
    (
        "one native geometry of 2^31 vertices",
        "shapes",
        8,
        |place| {
            let n = i32::MAX.cast_unsigned();
            let columns = vec![vertices(n, n.into()), vertices(n, n.into())];
            write(place, NATIVE, 1, columns, &[GEO_NATIVE]);
        },
    ),
    (
        "one native geometry of 2^31 vertices that the footer hides",
        "shapes",
        8,
        |place| {
            let n = i32::MAX.cast_unsigned();
            write(
                place,
                NATIVE,
                1,
                vec![vertices(n, 1), vertices(n, 1)],
                &[GEO_NATIVE],
            );
        },
    ),
    (
        "a page of 1 GiB that the footer hides",
        "points",
        8,
        |place| {
            let mut column = Column::new(4);
            let zeros = zstd::bulk::compress(&vec![0; 1 << 30], 3).unwrap();
            column = column.data(4, Encoding::PLAIN, &[]);
            column.unpacked[0] = 1 << 30;
            if let Page::DataPage { buf, .. } = &mut column.pages[0] {
                *buf = zeros.into();
            }
            hostile_points(place, NUMBERS, 4, column, &[]);
        },
    ),
    ("40,000 texts that repeat the first", "points", 8, |place| {
        let column =
            Column::new(ROWS.into()).data(ROWS, Encoding::DELTA_BYTE_ARRAY, &repeating_texts(ROWS));
        hostile_points(place, POINTS, ROWS, column, &[]);
    }),
    ("2^40 lengths of texts", "points", 8, |place| {
        let page = [vec![0x80, 0x01, 4], varint(1 << 40), vec![0, 0, 0, 0, 0, 0]].concat();
        let column = Column::new(4).data(4, Encoding::DELTA_LENGTH_BYTE_ARRAY, &page);
        hostile_points(place, POINTS, 4, column, &[]);
    }),
    ("2^40 numbers as differences", "points", 8, |place| {
        let page = [vec![0x80, 0x01, 4], varint(1 << 40), vec![0, 0, 0, 0, 0, 0]].concat();
        let column = Column::new(4).data(4, Encoding::DELTA_BINARY_PACKED, &page);
        hostile_points(place, NUMBERS, 4, column, &[]);
    }),
    (
        "a dictionary that claims 2^31 texts",
        "points",
        8,
        |place| {
            let mut column = Column::same(4, &[1, 0, 0, 0, b'a']);
            if let Page::DictionaryPage { num_values, .. } = &mut column.pages[0] {
                *num_values = i32::MAX.cast_unsigned();
            }
            hostile_points(place, POINTS, 4, column, &[]);
        },
    ),
    (
        "a dictionary that claims 2^31 truth values",
        "points",
        8,
        |place| {
            let mut column = Column::same(4, &[1]);
            if let Page::DictionaryPage { num_values, .. } = &mut column.pages[0] {
                *num_values = i32::MAX.cast_unsigned();
            }
            hostile_points(place, TRUTHS, 4, column, &[]);
        },
    ),
    (
        "a page with more values than the column",
        "points",
        8,
        |place| {
            let column = Column::same(i32::MAX.cast_unsigned(), &[1, 0, 0, 0, b'a']);
            let column = Column {
                values: 4,
                ..column
            };
            hostile_points(place, POINTS, 4, column, &[]);
        },
    ),
];

fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Reads everything at once, and the first batches.
fn read(store: &Store) -> Result<(), Error> {
    for name in store.points_names() {
        let points = store.points(&name)?;
        let names = points.column_names();
        points
            .batches(&names)?
            .take(3)
            .collect::<Result<Vec<_>, _>>()?;
        points.read(&names)?;
        points.index()?;
    }
    for name in store.shapes_names() {
        let shapes = store.shapes(&name)?;
        shapes
            .batches(&[])?
            .take(3)
            .collect::<Result<Vec<_>, _>>()?;
        shapes.geometries()?;
    }
    Ok(())
}

/// Not run by itself: the child whose memory is measured.
#[test]
fn child_that_reads_hostile_files() {
    let Some(path) = std::env::var_os("PHENOCODER_IO_HOSTILE") else {
        return;
    };
    let limits = OpenOptions::default().with_max_array_bytes(64 << 20);
    let open = |name| Store::open_with(Path::new(&path).join(name), limits.clone()).unwrap();
    read(&open("sound.zarr")).unwrap();
    let before = peak();
    let result = read(&open("s.zarr"));
    println!("grew by {} bytes: {result:?}", peak() - before);
}

#[test]
#[cfg(target_os = "linux")]
fn hostile_files_cost_no_more_than_the_limits_allow() {
    for (what, element, most, make) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = store_with(folder.path(), element);
        fs::rename(path, folder.path().join("sound.zarr")).unwrap();
        let (_, place) = store_with(folder.path(), element);
        make(&place);
        let size = fs::metadata(&place).unwrap().len();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "parquet::child_that_reads_hostile_files",
                "--nocapture",
            ])
            .env("PHENOCODER_IO_HOSTILE", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {text}{said}");
        let (grown, error) = text
            .split("grew by ")
            .nth(1)
            .unwrap()
            .split_once(" bytes: ")
            .unwrap();
        let grown: u64 = grown.parse().unwrap();
        let error = error.lines().next().unwrap();
        println!(
            "{what}: a file of {size} bytes cost {:.1} MiB: {error}",
            grown as f64 / MIB as f64
        );
        assert!(grown < most * MIB as u64, "{what}: {text}");
        // Categories are kept as such, so that those are no more than the file holds.
        let is_typed = error.starts_with("Err(TooLarge")
            || error.starts_with("Err(CorruptChunk")
            || (error == "Ok(())" && what.starts_with("a category"));
        assert!(is_typed, "{what}: {text}");
    }
}

/// Not run by itself: the child whose memory is measured.
#[test]
fn child_that_reads_repeated_texts() {
    let Some(path) = std::env::var_os("PHENOCODER_IO_REPEATED") else {
        return;
    };
    let bytes = |name: &str| {
        let points = Store::open(Path::new(&path).join(name))?.points("e")?;
        let mut sum = 0;
        for batch in points.batches(&["t"])? {
            sum += batch?.column(0).as_string::<i32>().value_data().len();
        }
        Ok::<usize, Error>(sum)
    };
    bytes("sound.zarr").unwrap_err();
    let before = peak();
    let result = bytes("s.zarr");
    println!("grew by {} bytes: {result:?}", peak() - before);
}

#[test]
#[cfg(target_os = "linux")]
fn a_page_of_texts_that_repeat_others_costs_a_batch_under_default_limits() {
    for (n, is_told, expected) in [
        // 1.9 GiB, and 3 GiB.
        (1900, true, "Ok(1992294400)"),
        (1900, false, "Err(CorruptChunk"),
        (3000, true, "Err(TooLarge"),
        (ROWS, true, "Err(TooLarge"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = store_with(folder.path(), "points");
        fs::rename(path, folder.path().join("sound.zarr")).unwrap();
        let (_, place) = store_with(folder.path(), "points");
        let mut column =
            Column::new(n.into()).data(n, Encoding::DELTA_BYTE_ARRAY, &repeating_texts(n));
        if is_told {
            column = column.telling(Encoding::DELTA_BYTE_ARRAY);
        }
        hostile_points(&place, POINTS, n, column, &[]);
        let size = fs::metadata(&place).unwrap().len();
        assert!(size < 2000, "{size}");
        let test = "parquet::child_that_reads_repeated_texts";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env("PHENOCODER_IO_REPEATED", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{n}: {text}");
        let (grown, said) = text
            .split("grew by ")
            .nth(1)
            .unwrap()
            .split_once(" bytes: ")
            .unwrap();
        let grown: u64 = grown.parse().unwrap();
        println!("{n} texts of 1 MiB in {size} bytes, told {is_told}, cost {grown} bytes: {said}");
        assert!(grown < 32 * MIB as u64, "{n}: {text}");
        assert!(said.starts_with(expected), "{n}: {text}");
    }
}

#[test]
fn a_column_of_text_is_counted_by_what_it_holds() {
    // Buffers grow by doubling: the last one is more than half empty.
    let n = 70_000_u32;
    let folder = tempfile::tempdir().unwrap();
    let (path, place) = store_with(folder.path(), "points");
    let mut page = Vec::new();
    for row in 0..n {
        let text = format!("{row:033}");
        page.extend((text.len() as u32).to_le_bytes());
        page.extend(text.into_bytes());
    }
    let column = Column::new(n.into()).data(n, Encoding::PLAIN, &page);
    hostile_points(&place, POINTS, n, column, &[]);
    // What the footer says, the texts with their offsets, is what is held but for a few bytes.
    let open = |limit| {
        let options = OpenOptions::default().with_max_array_bytes(limit);
        Store::open_with(&path, options)
            .unwrap()
            .points("e")
            .unwrap()
    };
    let held = page.len() as u64;
    let read = open(held + 200).read(&["t"]).unwrap();
    let texts = read.column(0).as_string::<i32>();
    assert_eq!(texts.value(69_999), format!("{:033}", 69_999));
    let refused = open(held - 1).read(&["t"]).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused:?}");
}

#[test]
fn files_that_are_no_elements_keep_their_types() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/parquet");
    let mut files = 0;
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::File::open(&path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Result<Vec<_>, _> = reader.build().unwrap().collect();
        let found = read_parquet(&path).unwrap();
        assert_eq!(found.num_rows(), 300, "{path:?}");
        files += 1;
        let Ok(batches) = batches else {
            // The parquet crate is built without them.
            let name = path.to_string_lossy();
            assert!(name.contains("gzip") || name.contains("lz4"), "{name}");
            continue;
        };
        let expected = concat_batches(&schema, &batches).unwrap();
        let fields = found.schema_ref().fields().iter().zip(schema.fields());
        for (at, (field, stored)) in fields.enumerate() {
            // Texts that pandas alone calls categories.
            match (field.data_type(), stored.data_type()) {
                (DataType::Dictionary(_, _), DataType::Utf8) => {}
                _ => assert_eq!(field, stored, "{path:?}"),
            }
            let values = cast(found.column(at), stored.data_type()).unwrap();
            assert_eq!(&values, expected.column(at), "{path:?}");
        }
        assert_eq!(found.num_columns(), expected.num_columns());
        assert_eq!(found.schema_ref().metadata(), schema.metadata());
    }
    assert!(files >= 12);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let large = LargeStringArray::from(vec![Some("a"), None]);
    let codes: DictionaryArray<Int8Type> = [Some("x"), Some("y")].into_iter().collect();
    let ordered = HashMap::from([("anndata.ordered".to_owned(), "true".to_owned())]);
    let schema = Schema::new(vec![
        Field::new("large", large.data_type().clone(), true),
        Field::new("coded", codes.data_type().clone(), false).with_metadata(ordered),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(large), Arc::new(codes)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    for batch in [batch.clone(), batch.slice(0, 0)] {
        write_parquet(&path, &batch).unwrap();
        assert_eq!(read_parquet(&path).unwrap(), batch);
    }
    // Numbers and texts that the note of pandas calls categories, and Arrow does not.
    let note = json!({"columns": [
        {"name": "n", "field_name": "n", "pandas_type": "categorical", "numpy_type": "int8"},
        {"name": "t", "field_name": "t", "pandas_type": "categorical", "numpy_type": "int8"},
    ]});
    let note = KeyValue::new("pandas".to_owned(), note.to_string());
    let schema = Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("t", DataType::Utf8, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![7, 300, 7])),
        Arc::new(StringArray::from(vec!["b", "a", "b"])),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let settings = WriterProperties::builder().set_key_value_metadata(Some(vec![note]));
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(settings.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let found = read_parquet(&path).unwrap();
    assert_eq!(found.column(0), batch.column(0));
    let texts = found.column(1).as_dictionary::<Int32Type>();
    assert_eq!(texts.keys().values(), &[0, 1, 0]);
    assert_eq!(
        &cast(found.column(1), &DataType::Utf8).unwrap(),
        batch.column(1)
    );
}

#[test]
fn files_that_are_no_elements_are_read_within_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    // One text in a dictionary stands for all of them.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["t".repeat(1000); 4000]));
    let batch = RecordBatch::try_from_iter([("t", texts)]).unwrap();
    write_parquet(&path, &batch).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 4000);
    let limited = |bytes| OpenOptions::default().with_max_array_bytes(bytes);
    let refused = read_parquet_with(&path, limited(1 << 20)).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    assert_eq!(read_parquet_with(&path, limited(8 << 20)).unwrap(), batch);
    let absent = read_parquet(folder.path().join("other.parquet"));
    assert!(matches!(absent, Err(Error::Io { .. })), "{absent:?}");
    let no_file = read_parquet(folder.path());
    assert!(matches!(no_file, Err(Error::InvalidMetadata { .. })));
}
