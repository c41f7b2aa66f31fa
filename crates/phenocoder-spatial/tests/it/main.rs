//! Tests against reference values and invariants; one binary, so that the crate is linked once.
//!
//! `organoid`: the original's numbers of two real wells. `reference_sets`: those of squidpy, networkx and esda for two
//! synthetic point sets, `graphs` their graphs; `peers` what these lack; `every_entry` all of both, in a table. `invariants`: what must hold for any points. `degenerate`: input at the edge of definition.
//! `laws`: what must hold for every statistic in the `catalogue` of all.
//! `layout`: the example `graph_statistics`, what it prints of both sets and of degenerate ones.
//! `crate_page`: what the crate promises of itself.
//! `limits`: values, numbers and sizes beyond the usual.
//! `settings`: every rule of theirs, at the limit.
//! `groups`: samples in which something was planted to differ.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests report the errors they measured")]

mod catalogue;
mod crate_page;
mod degenerate;
mod distances;
mod every_entry;
mod graphs;
mod groups;
mod invariants;
mod laws;
mod layout;
mod limits;
mod organoid;
mod peers;
mod reference_sets;
mod sets;
mod settings;
