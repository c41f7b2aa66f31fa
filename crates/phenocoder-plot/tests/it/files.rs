//! Pictures as files.

use std::error::Error as _;

use super::*;

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn figure() -> Figure {
    bars(&thirds(9), None, &BarsConfig::default()).unwrap()
}

#[test]
fn the_extension_chooses_the_format_and_nothing_else_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    figure().write(folder.path().join("a.png")).unwrap();
    figure().write(folder.path().join("a.SVG")).unwrap();
    assert_eq!(names(folder.path()), ["a.SVG", "a.png"]);
    let bytes = std::fs::read(folder.path().join("a.png")).unwrap();
    assert_eq!(decode(&bytes).width, 1_440);
    let text = std::fs::read_to_string(folder.path().join("a.SVG")).unwrap();
    assert!(text.starts_with("<svg"));
}

#[test]
fn a_file_that_exists_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    std::fs::write(&path, "old").unwrap();
    figure().write(&path).unwrap();
    decode(&std::fs::read(&path).unwrap());
}

#[test]
fn another_extension_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jpg", "a"] {
        let error = figure().write(folder.path().join(name)).unwrap_err();
        assert!(matches!(error, Error::Extension { .. }));
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_named_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/a.svg");
    let error = figure().write(&path).unwrap_err();
    assert!(error.to_string().contains("a.svg"));
    assert!(error.source().is_some());
}

#[test]
fn a_place_that_is_taken_by_a_folder_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a.svg")).unwrap();
    let error = figure().write(folder.path().join("a.svg")).unwrap_err();
    assert!(matches!(error, Error::Write { .. }));
    assert_eq!(names(folder.path()), ["a.svg"]);
}
