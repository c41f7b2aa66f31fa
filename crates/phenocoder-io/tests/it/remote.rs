//! Stores on servers: plain HTTP, and S3 as moto's server speaks it.
//!
//! The tests of S3 run where `PHENOCODER_S3` holds the address of such a server, for instance `http://127.0.0.1:5555`;
//! elsewhere they say that they were skipped. `scripts/test_s3.sh` starts one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ndarray::{Array3, Array4};
use phenocoder_core::{
    Column, DataType, ImageShape, ImageSource, LabelSource, MemoryImage, MemoryLabels, NoProgress,
};
use phenocoder_io::{
    BoundingBox, ContainerVersion, ElementKind, Error, ImageWriteOptions, LabelWriteOptions,
    OpenOptions, PointsWriteOptions, RepairOptions, ShapesData, ShapesWriteOptions, Store,
    TableData, WriteMode, validate, verify,
};

use super::http::{self, Reply};
use super::vector::{points, polygons};

const CHUNKS: ImageShape = ImageShape {
    c: 1,
    z: 1,
    y: 16,
    x: 16,
};

pub(super) fn values(offset: usize) -> Array4<f32> {
    Array4::from_shape_fn((2, 1, 40, 50), |(c, _, y, x)| {
        (c * 7 + y * 50 + x + offset) as f32
    })
}

pub(super) fn image(offset: usize) -> MemoryImage {
    MemoryImage::new("i", values(offset), vec!["a".into(), "b".into()]).unwrap()
}

pub(super) fn table(value: f64) -> TableData {
    TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_obs_column("value", Column::Float(vec![value, 2.0]))
        .unwrap()
}

pub(super) fn fill(store: &mut Store) {
    let options = ImageWriteOptions::new(DataType::UInt16).with_chunks(CHUNKS);
    store
        .write_image("größe", &image(0), &options, &NoProgress)
        .unwrap();
    let mask = MemoryLabels::new(
        "m",
        Array3::from_shape_fn((1, 40, 50), |(_, y, _)| y as u64),
    );
    let options = LabelWriteOptions::default().with_chunks(CHUNKS);
    store
        .write_labels("m", &mask, &options, &NoProgress)
        .unwrap();
    store
        .write_table("t", &table(1.0), WriteMode::Create)
        .unwrap();
}

pub(super) fn pixels(store: &Store) -> Vec<f32> {
    let image = store.image("größe").unwrap();
    let region = image.shape().region();
    let mut out = vec![0.0; region.checked_len().unwrap()];
    image.read_region(&region, &mut out).unwrap();
    out
}

pub(super) fn holds_everything(store: &Store) {
    assert_eq!(store.image_names(), ["größe"]);
    assert_eq!(store.label_names(), ["m"]);
    assert_eq!(pixels(store), values(0).into_raw_vec_and_offset().0);
    let mask = store.labels("m").unwrap();
    let region = mask.shape().region();
    let mut out = vec![0; region.checked_len().unwrap()];
    mask.read_region(&region, &mut out).unwrap();
    assert_eq!(out[49 * 2], 1);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
}

/// A server of files that counts requests and may fail the first attempts.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
    paths: Arc<Mutex<BTreeMap<String, usize>>>,
}

fn serve(root: &Path, failing_attempts: usize) -> Server {
    serve_with(root, failing_attempts, None)
}

/// A server that answers with a page where it has no file, as those of web applications do.
fn serve_pages(root: &Path) -> Server {
    // Metadata files that are not there would be read as such.
    serve_with(root, 0, Some("<!doctype html><title>Welcome</title>"))
}

fn serve_with(root: &Path, failing_attempts: usize, page: Option<&'static str>) -> Server {
    let (requests, paths) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::default()));
    let counts: (Arc<AtomicUsize>, Arc<Mutex<BTreeMap<String, usize>>>) =
        (Arc::clone(&requests), Arc::clone(&paths));
    let root = root.to_owned();
    let address = http::serve(move |request| {
        let (requests, paths) = &counts;
        requests.fetch_add(1, Ordering::SeqCst);
        let attempt = {
            let mut paths = paths.lock().unwrap();
            let count = paths.entry(request.path.clone()).or_default();
            *count += 1;
            *count
        };
        if attempt <= failing_attempts {
            return Reply::new("503 Service Unavailable");
        }
        // Pages are for people: not where a file of metadata is asked for.
        let page = page.filter(|_| request.path.contains("parquet"));
        let page = || page.map(|page| Reply::bytes(page.as_bytes().to_vec(), request));
        let file = Reply::file(&root, request).or_else(page);
        file.unwrap_or_else(|| Reply::new("404 Not Found"))
    });
    Server {
        address,
        requests,
        paths,
    }
}

pub(super) fn local(folder: &Path, version: ContainerVersion) -> PathBuf {
    let path = folder.join("s.zarr");
    fill(&mut Store::create(&path, version).unwrap());
    path
}

#[test]
fn a_store_behind_plain_http_is_verified_where_it_says_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = local(folder.path(), ContainerVersion::V02);
    let server = serve(folder.path(), 0);
    let far = Store::open(format!("{}/s.zarr", server.address)).unwrap();
    let (near, far_found) = (
        verify(&Store::open(&path).unwrap(), &NoProgress).unwrap(),
        verify(&far, &NoProgress).unwrap(),
    );
    assert_eq!(
        (far_found.chunks, far_found.is_certain()),
        (near.chunks, true),
        "{far_found:?}"
    );
    std::fs::remove_file(path.join("images/größe/s0/c/0/1/1")).unwrap();
    let found = verify(&far, &NoProgress).unwrap();
    assert_eq!(found.violations.len(), 1, "{found:?}");
}

#[test]
fn a_store_behind_plain_http_is_read_with_few_requests() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        local(folder.path(), version);
        let server = serve(folder.path(), 0);
        let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
        assert_eq!(store.elements().len(), 3);
        let opening = server.requests.load(Ordering::SeqCst);
        assert!(opening <= 6, "{opening} requests");
        store.image("größe").unwrap();
        let metadata = server.requests.load(Ordering::SeqCst) - opening;
        assert_eq!(metadata, 0, "metadata are consolidated");
        holds_everything(&store);
        // Each chunk was asked for once: 2 channels of 3 × 4 chunks.
        let paths = server.paths.lock().unwrap();
        let chunks = paths.iter().filter(|(path, _)| path.contains("images"));
        assert_eq!(chunks.map(|(_, count)| count).sum::<usize>(), 24);
    }
}

#[test]
fn a_server_that_fails_now_and_then_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    let server = serve(folder.path(), 1);
    holds_everything(&Store::open(format!("{}/s.zarr", server.address)).unwrap());
    let dead = serve(folder.path(), usize::MAX);
    let options = OpenOptions::default().with_max_retries(1);
    let refused = Store::open_with(format!("{}/s.zarr", dead.address), options).unwrap_err();
    assert!(matches!(refused, Error::Remote { .. }), "{refused:?}");
    assert!(refused.to_string().contains("zarr.json"), "{refused}");
    assert_eq!(dead.requests.load(Ordering::SeqCst), 2);
}

#[test]
fn requests_have_a_budget_and_http_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    let server = serve(folder.path(), 0);
    let address = format!("{}/s.zarr", server.address);
    let options = OpenOptions::default().with_max_requests(Some(10));
    let mut store = Store::open_with(&address, options).unwrap();
    let image = store.image("größe").unwrap();
    let region = image.shape().region();
    let mut out = vec![0.0; region.checked_len().unwrap()];
    let refused = image.read_region(&region, &mut out).unwrap_err();
    assert!(
        format!("{refused:?}").contains("TooManyRequests"),
        "{refused:?}"
    );
    assert!(server.requests.load(Ordering::SeqCst) <= 10);
    let refused = store.write_table("u", &table(0.0), WriteMode::Create);
    assert!(
        matches!(refused, Err(Error::ReadOnly { .. })),
        "{refused:?}"
    );
    let refused = Store::open(format!("{}/other.zarr", server.address)).unwrap_err();
    assert!(matches!(refused, Error::NotAStore { .. }), "{refused:?}");
}

#[test]
fn each_attempt_counts_against_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    for (failing, budget) in [(0, 9), (1, 9), (1, 14), (2, 11)] {
        let server = serve(folder.path(), failing);
        let options = OpenOptions::default().with_max_requests(Some(budget));
        let read = Store::open_with(format!("{}/s.zarr", server.address), options)
            .and_then(|store| store.image("größe"))
            .and_then(|image| {
                let region = image.shape().region();
                let mut out = vec![0.0; region.checked_len().unwrap()];
                image.read_region(&region, &mut out)?;
                Ok(())
            });
        let refused = read.unwrap_err();
        assert!(
            format!("{refused:?}").contains("TooManyRequests"),
            "{refused:?}"
        );
        assert!(refused.is_environment());
        let sent = server.requests.load(Ordering::SeqCst) as u64;
        assert_eq!(sent, budget, "{failing} failing attempts");
    }
}

/// Points in so many files, or in one that is no folder, and shapes.
pub(super) fn vectors(folder: &Path, version: ContainerVersion, parts: Option<usize>) -> PathBuf {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, version).unwrap();
    let options =
        PointsWriteOptions::default().with_rows_per_part(60_usize.div_ceil(parts.unwrap_or(1)));
    store.write_points("p", &points(60), &options).unwrap();
    let data = ShapesData::new(polygons());
    store
        .write_shapes("s", &data, &ShapesWriteOptions::default())
        .unwrap();
    if parts.is_none() {
        let place = path.join("points/p/points.parquet");
        let file = std::fs::read(place.join("part.0.parquet")).unwrap();
        std::fs::remove_dir_all(&place).unwrap();
        std::fs::write(&place, file).unwrap();
    }
    path
}

/// Takes what this crate notes of files out of all metadata, as in stores that others wrote.
pub(super) fn forget_files(store: &Path) {
    fn forget(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                if map
                    .get("phenocoder")
                    .is_some_and(|own| own.get("parquet_files").is_some())
                {
                    map.remove("phenocoder");
                }
                map.values_mut().for_each(forget);
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let files = ["", "points/p/", "shapes/s/"]
        .into_iter()
        .flat_map(|folder| {
            ["zarr.json", ".zattrs", ".zmetadata"].map(|file| store.join(format!("{folder}{file}")))
        });
    for file in files.filter(|file| file.exists()) {
        let mut value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        forget(&mut value);
        std::fs::write(file, value.to_string()).unwrap();
    }
}

pub(super) fn holds_vectors(store: &Store, parts: usize) {
    let read = store.points("p").unwrap();
    assert_eq!(read.n_parts(), parts);
    let columns = read.read(&["x", "note", "gene"]).unwrap();
    let expected = points(60).columns;
    assert_eq!(columns.column(0), expected.column(0));
    assert_eq!(columns.column(2).len(), 60);
    assert_eq!(read.index().unwrap().len(), 60);
    let region = BoundingBox::new("global", &["x"], &[5.0], &[6.0]).unwrap();
    assert_eq!(read.rows_within(&region).unwrap(), [11]);
    let shapes = store.shapes("s").unwrap().geometries().unwrap();
    assert_eq!(shapes, polygons());
}

#[test]
fn points_and_shapes_behind_plain_http_are_read_and_verified() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        for (parts, is_ours) in [
            (Some(1), true),
            (Some(3), true),
            (Some(1), false),
            (Some(3), false),
            (None, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = vectors(folder.path(), version, parts);
            if !is_ours {
                forget_files(&path);
            }
            let server = serve(folder.path(), 0);
            let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
            holds_vectors(&store, parts.unwrap_or(1));
            let found = verify(&store, &NoProgress).unwrap();
            assert!(found.violations.is_empty(), "{found:?}");
            assert_eq!((found.rows, found.is_certain()), (63, is_ours), "{found:?}");
            if is_ours {
                let paths = server.paths.lock().unwrap();
                let gone = paths
                    .keys()
                    .filter(|path| !folder.path().join(path.trim_start_matches('/')).exists());
                let gone: Vec<&String> = gone.filter(|path| path.contains("parquet")).collect();
                assert!(gone.is_empty(), "asked for what is not there: {gone:?}");
            }
        }
    }
}

#[test]
fn opening_points_behind_plain_http_reads_the_footer_of_the_first_file_once() {
    for parts in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        vectors(folder.path(), ContainerVersion::V02, Some(parts));
        let server = serve(folder.path(), 0);
        let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
        let before = server.requests.load(Ordering::SeqCst);
        store.points("p").unwrap();
        // How large it is, and its end.
        assert_eq!(server.requests.load(Ordering::SeqCst) - before, 2);
    }
}

#[test]
fn a_lost_part_behind_plain_http_is_an_error_where_the_element_tells_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = vectors(folder.path(), ContainerVersion::V02, Some(3));
    std::fs::remove_file(path.join("points/p/points.parquet/part.2.parquet")).unwrap();
    let server = serve(folder.path(), 0);
    let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
    let lost = store.points("p").unwrap().read(&["x"]).unwrap_err();
    assert!(lost.key().unwrap().ends_with("part.2.parquet"), "{lost:?}");
    let first = path.join("points/p/points.parquet/part.0.parquet");
    std::fs::remove_file(first).unwrap();
    let lost = store.points("p").unwrap_err();
    assert!(matches!(lost, Error::MissingChunk { .. }), "{lost:?}");
    assert!(lost.key().unwrap().ends_with("part.0.parquet"), "{lost:?}");
    let found = verify(&store, &NoProgress).unwrap();
    let keys: Vec<&str> = found.violations.iter().map(|v| v.key.as_str()).collect();
    let part = |n| format!("points/p/points.parquet/part.{n}.parquet");
    assert_eq!(keys, [part(0), part(2)], "{found:?}");
    assert_eq!(found.rows, 20 + 3);
}

#[test]
fn a_server_with_a_page_for_every_address_is_not_asked_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    for parts in [Some(3), None] {
        let folder = folder.path().join(format!("{parts:?}"));
        std::fs::create_dir(&folder).unwrap();
        let path = vectors(&folder, ContainerVersion::V02, parts);
        forget_files(&path);
        let server = serve_pages(&folder);
        let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
        holds_vectors(&store, parts.unwrap_or(1));
        let asked = server.requests.load(Ordering::SeqCst);
        assert!(asked < 60, "{asked} requests");
    }
    // Where there are pages only, nothing is points.
    let path = vectors(folder.path(), ContainerVersion::V02, Some(1));
    forget_files(&path);
    std::fs::remove_dir_all(path.join("points/p/points.parquet")).unwrap();
    let server = serve_pages(folder.path());
    let store = Store::open(format!("{}/s.zarr", server.address)).unwrap();
    let missing = store.points("p").unwrap_err();
    assert!(
        matches!(missing, Error::MissingMetadata { .. }),
        "{missing:?}"
    );
    assert!(server.requests.load(Ordering::SeqCst) < 20);
}

#[test]
fn ragged_shapes_behind_plain_http_are_read() {
    let Some(cases) = super::conformance::cases() else {
        return;
    };
    let mut read = 0;
    for case in std::fs::read_dir(cases.join("valid")).unwrap() {
        let case = case.unwrap().path();
        let Some(path) = std::fs::read_dir(&case)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.extension().is_some_and(|e| e == "zarr"))
        else {
            continue;
        };
        let local = Store::open(&path).unwrap();
        if local.shapes_names().is_empty() && local.points_names().is_empty() {
            continue;
        }
        let server = serve(&case, 0);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(store) = Store::open(format!("{}/{name}", server.address)) else {
            // Nothing tells a web server's elements but consolidated metadata.
            continue;
        };
        for name in store.shapes_names() {
            let (near, far) = (local.shapes(&name), store.shapes(&name));
            match near {
                Ok(near) => assert_eq!(
                    near.geometries().unwrap(),
                    far.unwrap().geometries().unwrap(),
                    "{case:?}"
                ),
                Err(_) => assert!(far.is_err(), "{case:?}"),
            }
            read += 1;
        }
        for name in store.points_names() {
            let (near, far) = (local.points(&name).unwrap(), store.points(&name));
            assert_eq!(
                near.coordinates().unwrap(),
                far.unwrap().coordinates().unwrap(),
                "{case:?}"
            );
            read += 1;
        }
    }
    println!("{read} points and shapes of the conformance cases read behind plain HTTP");
    assert!(read > 3);
}

/// The address of a new bucket on the server that the environment names.
pub(super) fn bucket(name: &str) -> Option<(String, OpenOptions)> {
    let server = phenocoder_testdata::variable("PHENOCODER_S3")?;
    let host = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let bucket = format!("phenocoder-{name}-{}", std::process::id());
    write!(
        stream,
        "PUT /{bucket} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let options = OpenOptions::default()
        .with_storage_option("aws_endpoint", &server)
        .with_storage_option("aws_allow_http", "true")
        .with_storage_option("aws_region", "us-east-1")
        .with_storage_option("aws_access_key_id", "test")
        .with_storage_option("aws_secret_access_key", "test");
    Some((format!("s3://{bucket}/folder/s.zarr"), options))
}

#[test]
fn a_store_on_s3_is_written_replaced_and_read() {
    let Some((address, options)) = bucket("write") else {
        return;
    };
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let address = format!("{address}-{}", version.as_str());
        let mut store = Store::create_with(&address, version, options.clone()).unwrap();
        fill(&mut store);
        holds_everything(&store);
        let open = || Store::open_with(&address, options.clone()).unwrap();
        holds_everything(&open());
        assert!(validate(&open()).is_empty());
        let options_of_points = PointsWriteOptions::default().with_rows_per_part(20);
        store
            .write_points("p", &points(60), &options_of_points)
            .unwrap();
        let shapes = ShapesData::new(polygons());
        store
            .write_shapes("s", &shapes, &ShapesWriteOptions::default())
            .unwrap();
        holds_vectors(&open(), 3);
        let found = verify(&open(), &NoProgress).unwrap();
        assert!(found.violations.is_empty(), "{found:?}");
        let again = Store::create_with(&address, version, options.clone());
        assert!(matches!(again, Err(Error::Exists { .. })));
        let twice = store.write_table("t", &table(3.0), WriteMode::Create);
        assert!(matches!(twice, Err(Error::Exists { .. })));

        let new = ImageWriteOptions::new(DataType::UInt32)
            .with_chunks(ImageShape::new(2, 1, 32, 32))
            .with_mode(WriteMode::Replace);
        store
            .write_image("größe", &image(9), &new, &NoProgress)
            .unwrap();
        let expected = values(9).into_raw_vec_and_offset().0;
        assert_eq!(pixels(&store), expected);
        assert_eq!(pixels(&open()), expected);
        store.remove(ElementKind::Labels, "m").unwrap();
        assert!(store.label_names().is_empty() && open().label_names().is_empty());
        let renamed = store.rename(ElementKind::Table, "t", "u");
        assert!(matches!(renamed, Err(Error::ReadOnly { .. })));
    }
}

#[test]
fn attributes_on_s3_are_replaced_for_the_next_to_open() {
    let Some((address, options)) = bucket("attributes") else {
        return;
    };
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let address = format!("{address}-{}", version.as_str());
        let mut store = Store::create_with(&address, version, options.clone()).unwrap();
        fill(&mut store);
        let attributes = serde_json::json!({"donor": "größe", "spatialdata_attrs": 7});
        let attributes = attributes.as_object().unwrap().clone();
        store.write_attributes(attributes).unwrap();
        let again = Store::open_with(&address, options.clone()).unwrap();
        for store in [&store, &again] {
            assert_eq!(store.attributes()["donor"], "größe");
            assert_eq!(store.version(), version);
            assert!(store.attributes()["spatialdata_attrs"].is_object());
            holds_everything(store);
        }
        assert!(validate(&again).is_empty());
    }
}

#[test]
fn the_lock_of_a_writer_that_died_is_taken_away_on_request() {
    let Some((address, options)) = bucket("repair") else {
        return;
    };
    let mut store = Store::create_with(&address, ContainerVersion::V02, options.clone()).unwrap();
    assert_eq!(store.repair().unwrap().removed, [""; 0]);
    // As a writer that was killed leaves it.
    let place = address.strip_prefix("s3://").unwrap();
    let server = std::env::var("PHENOCODER_S3").unwrap();
    let host = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PUT /{place}/.phenocoder-lock HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    let refused = store.write_table("t", &table(1.0), WriteMode::Create);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    let refused = store.repair();
    assert!(
        matches!(refused, Err(Error::Locked { .. })),
        "younger than a day: {refused:?}"
    );
    let at_once = RepairOptions::default().with_lock_age(std::time::Duration::ZERO);
    let done = store.repair_with(&at_once).unwrap();
    assert_eq!(done.removed, [".phenocoder-lock"]);
    store
        .write_table("t", &table(1.0), WriteMode::Create)
        .unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
}

#[test]
fn a_replacement_that_cannot_be_sent_in_full_is_not_begun() {
    let Some((address, options)) = bucket("budget") else {
        return;
    };
    fill(&mut Store::create_with(&address, ContainerVersion::V02, options.clone()).unwrap());
    let limited = options.clone().with_max_requests(Some(20));
    let mut store = Store::open_with(&address, limited).unwrap();
    let new = ImageWriteOptions::new(DataType::UInt16)
        .with_chunks(CHUNKS)
        .with_mode(WriteMode::Replace);
    let refused = store.write_image("größe", &image(9), &new, &NoProgress);
    assert!(
        matches!(refused, Err(Error::TooManyRequests { .. })),
        "{refused:?}"
    );
    // Nothing is gone, and the lock is not left behind.
    let mut store = Store::open_with(&address, options).unwrap();
    holds_everything(&store);
    store.remove(ElementKind::Table, "t").unwrap();
}

#[test]
fn two_writers_on_s3_do_not_mix() {
    let Some((address, options)) = bucket("two") else {
        return;
    };
    Store::create_with(&address, ContainerVersion::V02, options.clone()).unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|i| {
                let (address, options) = (&address, options.clone());
                scope.spawn(move || {
                    let mut store = Store::open_with(address, options).unwrap();
                    (0..3)
                        .filter_map(|k| {
                            // One name is wanted by all.
                            let name = if k == 0 {
                                "same".to_owned()
                            } else {
                                format!("t{i}-{k}")
                            };
                            match store.write_table(&name, &table(1.0), WriteMode::Create) {
                                Ok(()) => Some(name),
                                Err(Error::Locked { .. } | Error::Exists { .. }) => None,
                                Err(other) => panic!("{other:?}"),
                            }
                        })
                        .collect::<Vec<String>>()
                })
            })
            .collect();
        writers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect()
    });
    let store = Store::open_with(&address, options).unwrap();
    let mut written = results;
    written.sort();
    assert_eq!(store.table_names(), written);
    assert!(!written.is_empty());
    for name in written {
        assert_eq!(store.table(&name).unwrap().read_all().unwrap(), table(1.0));
    }
}
