//! Entries, layers and columns that cannot be read, on their way from the table that is replaced to the new one.

use std::sync::Arc;

use phenocoder_core::NoProgress;

use super::data::TableData;
use super::lazy::Table;
use crate::disk::Place;
use crate::node::{Node, ZarrFormat};
use crate::path::join;
use crate::root::Root;
use crate::store::copy_tree;
use crate::{Error, Result};

/// Copies every unsupported entry, layer and column of `table` from the table at the key `old` into the new table's folder.
pub(crate) fn carry_over(
    root: &Arc<Root>,
    format: ZarrFormat,
    old: Option<&str>,
    table: &TableData,
    place: &Place,
) -> Result<()> {
    let entries = table.unsupported();
    if entries.is_empty() {
        return Ok(());
    }
    let refuse = |entry: &str, why: &str, reason: &str| {
        let problem = format!("it could not be read and {why}; take it out first ({reason})");
        Err(Error::table(entry, problem))
    };
    let Some(old) = old else {
        let (entry, reason) = &entries[0];
        return refuse(entry, "no table that has it is replaced", reason);
    };
    let before = Table::open(root, &Node::open(root, old, format)?)?;
    let same_obs = before.obs_names()? == table.obs_names;
    let same_var = before.var_names()? == table.var_names;
    let is_of_raw = |(entry, _): &(String, String)| entry.starts_with("raw/");
    let same_raw = if entries.iter().any(is_of_raw) {
        let names = table.raw.as_ref().map(|raw| raw.var_names.as_slice());
        before.raw_var_names()?.as_deref() == names
    } else {
        true
    };
    for (entry, reason) in &entries {
        let fits = match entry.split('/').next() {
            Some("obs" | "obsm" | "obsp") => same_obs,
            Some("layers") => same_obs && same_var,
            Some("var" | "varm" | "varp") => same_var,
            // The variables of `raw` are its own.
            Some("raw") => same_raw,
            // `uns` is not aligned.
            _ => true,
        };
        if !fits {
            return refuse(entry, "its rows are not those of the new table", reason);
        }
        let key = join(old, entry)?;
        if Node::find(root, &key, format).is_ok_and(|node| node.is_none()) {
            return refuse(entry, "the table being replaced does not have it", reason);
        }
        // Where case is not told apart, an entry of the new table may lie there.
        let to = place.join(entry);
        to.must_be_free()?;
        copy_tree(root, &key, &to, &NoProgress)?;
    }
    Ok(())
}
