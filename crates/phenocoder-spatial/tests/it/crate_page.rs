//! What the crate promises of itself: a catalogue of all functions, each with an example and its cost, and few dependencies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The name of every public function with its documentation.
fn functions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let mut docs = String::new();
            for line in text.lines() {
                if let Some(signature) = line.strip_prefix("pub fn ") {
                    let end = signature.find(['(', '<']).unwrap();
                    found.push((signature[..end].to_owned(), std::mem::take(&mut docs)));
                } else if line.starts_with("///") {
                    docs.push_str(line);
                    docs.push('\n');
                } else if !line.starts_with("#[") {
                    docs.clear();
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_crate_page_names_every_public_function() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("src/lib.rs")).unwrap();
    let (_, catalogue) = page.split_once("# Catalogue").unwrap();
    let (catalogue, _) = catalogue.split_once("# Conventions").unwrap();
    let links: BTreeSet<&str> = catalogue
        .split("[`")
        .filter_map(|part| part.split_once("`]"))
        .filter_map(|(link, _)| link.rsplit("::").next())
        .collect();
    let functions = functions();
    assert!(functions.len() > 55, "{}", functions.len());
    let missing = functions.iter().map(|(name, _)| name.as_str());
    let missing: Vec<&str> = missing.filter(|name| !links.contains(name)).collect();
    assert!(missing.is_empty(), "not in the catalogue: {missing:?}");
}

#[test]
fn every_public_function_has_an_example_and_its_cost() {
    for (name, docs) in functions() {
        assert!(docs.contains("/// # Examples"), "{name} has no example");
        let cost = docs.contains("cost") || docs.contains("O(");
        assert!(cost, "{name} does not say what it costs");
    }
}

#[test]
fn a_program_that_takes_this_crate_alone_compiles_no_more_than_55_packages() {
    let tree = Command::new(std::env::var("CARGO").unwrap())
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    let problem = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{problem}");
    let names = text.lines().filter_map(|line| line.split(" (").next());
    let packages: BTreeSet<&str> = names.collect();
    println!("{} packages", packages.len());
    assert!(
        packages.contains(&format!("phenocoder-spatial v{}", env!("CARGO_PKG_VERSION")) as &str)
    );
    assert!(packages.len() <= 55, "{packages:#?}");
}
