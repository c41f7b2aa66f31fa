//! Errors of the store beside errors of what it lies on.

use serde_json::json;

use phenocoder_core::NoProgress;

use super::consolidated::{self, Overlay};
use super::*;
use crate::root::{RangeFile, Source, SourceEntry};
use crate::{TableData, Violation, verify};

/// A folder as a server would have it, some files of which it does not give out.
#[derive(Debug)]
struct Failing {
    folder: Folder,
    file: &'static str,
    error: fn(&str) -> Error,
}

impl Source for Failing {
    fn address(&self) -> String {
        self.folder.address()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        if key == self.file {
            return Err((self.error)(key));
        }
        self.folder.file(key)
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        self.folder.entries(key)
    }
}

fn refused(key: &str) -> Error {
    Error::Remote {
        address: "s3://bucket".to_owned(),
        key: key.to_owned(),
        source: "503".into(),
    }
}

fn used_up(key: &str) -> Error {
    Error::TooManyRequests {
        key: key.to_owned(),
        address: "s3://bucket".to_owned(),
        limit: 7,
    }
}

fn broken(key: &str) -> Error {
    let read = Error::io(Path::new(key), "read");
    read(std::io::Error::other("input or output error"))
}

fn damaged(key: &str) -> Error {
    Error::corrupt(key, "nonsense")
}

fn endless(key: &str) -> Error {
    let read = Error::io(Path::new(key), "read");
    read(std::io::ErrorKind::InvalidFilename.into())
}

#[test]
fn errors_of_servers_and_disks_are_returned_and_damage_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let table = TableData::new(vec!["a".into()], vec![], None);
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let image = path.join("images/i");
    std::fs::create_dir_all(&image).unwrap();
    for group in [path.join("images"), image] {
        let group = group.join("zarr.json");
        std::fs::write(
            group,
            json!({"zarr_format": 3, "node_type": "group"}).to_string(),
        )
        .unwrap();
    }
    let open = |file, error| {
        let folder = Folder::open(&Default::default(), &path, false).unwrap();
        let source = Failing {
            folder,
            file,
            error,
        };
        Store::from_root(Root::new(source, OpenOptions::default())).unwrap()
    };
    for error in [refused, used_up, broken] {
        let kind = error("").to_string();
        let index = open("tables/t/obs/_index/c/0", error);
        let is_said = |key: &str, found: &[Violation]| {
            let mut found = found.iter();
            found.any(|v| v.key == key && v.problem.starts_with("not checked: "))
        };
        match verify(&index, &NoProgress) {
            // Nothing more can be asked for.
            Err(found) => assert!(matches!(found, Error::TooManyRequests { .. }), "{found}"),
            // The root can be read.
            Ok(found) => {
                let found = &found.violations;
                assert!(
                    is_said("tables/t/obs/_index/c/0", found),
                    "{kind}: {found:?}"
                );
            }
        }
        let checked = crate::validate(&index);
        assert!(is_said("tables/t", &checked), "{kind}: {checked:?}");
        let metadata = open("images/i/zarr.json", error);
        let found = metadata.coordinate_systems().unwrap_err();
        assert!(found.is_environment(), "{kind}: {found}");
        let built = consolidated::build(&metadata.root, ZarrFormat::V3, &Overlay::default());
        assert!(built.unwrap_err().is_environment(), "{kind}");
    }
    for error in [damaged, endless] {
        let index = open("tables/t/obs/_index/c/0", error);
        let found = verify(&index, &NoProgress).unwrap();
        assert!(!found.violations.is_empty());
        let metadata = open("images/i/zarr.json", error);
        assert_eq!(metadata.coordinate_systems().unwrap(), [""; 0]);
        consolidated::build(&metadata.root, ZarrFormat::V3, &Overlay::default()).unwrap();
    }
}

#[test]
#[cfg(unix)]
fn links_that_lead_round_in_circles_are_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let table = TableData::new(vec!["a".into()], vec![], None);
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let chunk = path.join("tables/t/obs/_index/c/0");
    std::fs::remove_file(&chunk).unwrap();
    std::os::unix::fs::symlink("0", &chunk).unwrap();
    let refused = store.table("t").unwrap().read_all().unwrap_err();
    assert!(!refused.is_environment(), "{refused:?}");
    let found = verify(&store, &NoProgress).unwrap();
    assert!(!found.violations.is_empty());
}
