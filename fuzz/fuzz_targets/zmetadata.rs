//! `phenocoder_io::fuzz::zmetadata`.
#![no_main]

phenocoder_fuzz::json_target!(zmetadata);
