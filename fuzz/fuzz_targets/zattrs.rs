//! `phenocoder_io::fuzz::zattrs`.
#![no_main]

phenocoder_fuzz::json_target!(zattrs);
