//! `phenocoder_io::fuzz::points`.
#![no_main]

phenocoder_fuzz::json_target!(points);
