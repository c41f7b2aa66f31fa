//! `phenocoder_io::fuzz::chunk`.
#![no_main]

phenocoder_fuzz::target!(chunk);
