//! `phenocoder_io::fuzz::table`.
#![no_main]

phenocoder_fuzz::json_target!(table);
