//! `phenocoder_io::fuzz::pandas`.
#![no_main]

phenocoder_fuzz::json_target!(pandas);
