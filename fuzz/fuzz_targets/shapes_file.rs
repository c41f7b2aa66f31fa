//! `phenocoder_io::fuzz::shapes_file`.
#![no_main]

phenocoder_fuzz::target!(shapes_file);
