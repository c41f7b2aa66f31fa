//! `phenocoder_io::fuzz::multiscale`.
#![no_main]

phenocoder_fuzz::json_target!(multiscale);
