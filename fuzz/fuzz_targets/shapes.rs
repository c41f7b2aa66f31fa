//! `phenocoder_io::fuzz::shapes`.
#![no_main]

phenocoder_fuzz::json_target!(shapes);
