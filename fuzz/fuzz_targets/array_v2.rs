//! `phenocoder_io::fuzz::array_v2`.
#![no_main]

phenocoder_fuzz::json_target!(array_v2);
