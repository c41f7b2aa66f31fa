//! `phenocoder_io::fuzz::transformations`.
#![no_main]

phenocoder_fuzz::json_target!(transformations);
