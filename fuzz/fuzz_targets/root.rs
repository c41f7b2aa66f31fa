//! `phenocoder_io::fuzz::root`.
#![no_main]

phenocoder_fuzz::json_target!(root);
