//! Every violation of a store, rather than the first.

use std::collections::BTreeSet;

use crate::array::with_causes;
use crate::store::{ElementKind, Store};
use crate::transform::{Transformation, affine_of};
use crate::{Error, path};

/// Something in a store that breaks a rule.
#[derive(Debug)]
#[non_exhaustive]
pub struct Violation {
    /// The element, or the node in it.
    pub key: String,
    /// What is wrong, with its causes.
    pub problem: String,
    /// Whether the element can be read all the same.
    pub is_warning: bool,
}

impl Violation {
    pub(crate) fn error(key: &str, error: &Error) -> Self {
        let problem = with_causes(error);
        Self {
            key: key.to_owned(),
            problem: if error.is_environment() {
                format!("not checked: {problem}")
            } else {
                problem
            },
            is_warning: false,
        }
    }

    pub(crate) fn warning(key: &str, problem: String) -> Self {
        Self {
            key: key.to_owned(),
            problem,
            is_warning: true,
        }
    }
}

/// Checks the structure of every element: metadata, names, versions, lengths, codes, pointers, geometries, annotations.
///
/// Consolidated metadata and the list of masks are compared with what is there, and left-overs of writers on other
/// machines are named.
/// Tables and shapes are read; pixels and points are not: [`verify`](crate::verify) decodes them all.
/// What the disk or the server did not give out is in the list as "not checked".
/// An empty list means that no rule checked is broken.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{ContainerVersion, Store, validate};
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::create(folder.path().join("new.zarr"), ContainerVersion::V02)?;
/// assert!(validate(&store).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn validate(store: &Store) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut seen: Vec<(String, &str)> = Vec::new();
    for element in store.elements() {
        let key = element.key.as_str();
        if let Err(error) = path::check_name(&element.name) {
            found.push(Violation::warning(key, with_causes(&error)));
        }
        let lower = element.name.to_lowercase();
        if let Some((_, other)) = seen.iter().find(|(name, _)| *name == lower) {
            let problem = format!("the name differs from that of `{other}` in case at most");
            found.push(Violation::warning(key, problem));
        }
        seen.push((lower, key));
        let result = match element.kind {
            ElementKind::Image => {
                let image = store.image(&element.name);
                image.map(|image| check_maps(key, image.transformations(), &mut found))
            }
            ElementKind::Labels => {
                let labels = store.labels(&element.name);
                labels.map(|labels| check_maps(key, labels.transformations(), &mut found))
            }
            ElementKind::Table => check_table(store, &element.name, key, &mut found),
            ElementKind::Points => store.points(&element.name).and_then(|points| {
                check_maps(key, points.transformations(), &mut found);
                points.n_rows().map(|_| ())
            }),
            ElementKind::Shapes => store.shapes(&element.name).and_then(|shapes| {
                check_maps(key, shapes.transformations(), &mut found);
                shapes.read_all().map(|_| ())
            }),
        };
        if let Err(error) = result {
            found.push(Violation::error(key, &error));
        }
    }
    for (group, error) in store.unlistable_groups() {
        found.push(Violation::error(group, &error));
    }
    match store.unlisted_labels() {
        Ok(None) => {}
        Ok(Some(problem)) => found.push(Violation::warning("labels", problem)),
        Err(error) => found.push(Violation::error("labels", &error)),
    }
    match store.left_overs_of_others() {
        Ok(left) => found.extend(left.iter().map(|key| {
            let problem = "a writer on another machine is at work on it, or left it; repairing \
                           the store removes it"
                .to_owned();
            Violation::warning(key, problem)
        })),
        Err(error) => found.push(Violation::error("", &error)),
    }
    match store.stale_metadata() {
        Ok(stale) => found.extend(stale),
        Err(error) => found.push(Violation::warning("", with_causes(&error))),
    }
    found
}

/// Lists the maps into coordinate systems that cannot be used.
fn check_maps(key: &str, maps: &[Transformation], found: &mut Vec<Violation>) {
    let wrong = maps.iter().filter_map(|map| affine_of(key, map).err());
    found.extend(wrong.map(|error| Violation::warning(key, with_causes(&error))));
}

fn check_table(
    store: &Store,
    name: &str,
    key: &str,
    found: &mut Vec<Violation>,
) -> Result<(), Error> {
    let table = store.table(name)?;
    let data = table.read_all()?;
    if let Err(error) = data.validate() {
        found.push(Violation::warning(key, with_causes(&error)));
    }
    for (names, frame, what) in [
        (&data.obs_names, "obs", "rows"),
        (&data.var_names, "var", "variables"),
    ] {
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            let problem = format!("`{name}` names two {what}");
            found.push(Violation::warning(&path::child(key, frame), problem));
        }
    }
    for region in data.annotation.iter().flat_map(|a| &a.regions) {
        let exists = store.elements().iter().any(|e| {
            matches!(
                e.kind,
                ElementKind::Labels | ElementKind::Shapes | ElementKind::Points
            ) && e.name == *region
        });
        if !exists {
            let problem = format!("it annotates `{region}`, which is not in the store");
            found.push(Violation::warning(key, problem));
        }
    }
    for (entry, reason) in data.unsupported() {
        found.push(Violation::warning(&path::child(key, &entry), reason));
    }
    Ok(())
}
