//! `phenocoder_io::fuzz::sparse`.
#![no_main]

phenocoder_fuzz::target!(sparse);
