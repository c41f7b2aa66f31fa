//! The crates together: the main job on small synthetic tissue and on the real store, by behaviour.
#![allow(clippy::unwrap_used, reason = "tests")]
