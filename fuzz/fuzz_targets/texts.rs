//! `phenocoder_io::fuzz::texts`.
#![no_main]

phenocoder_fuzz::target!(texts);
