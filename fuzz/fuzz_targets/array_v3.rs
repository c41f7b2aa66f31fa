//! `phenocoder_io::fuzz::array_v3`.
#![no_main]

phenocoder_fuzz::json_target!(array_v3);
