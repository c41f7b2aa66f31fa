//! `phenocoder_io::fuzz::ragged`.
#![no_main]

phenocoder_fuzz::target!(ragged);
