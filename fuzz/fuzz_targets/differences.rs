//! `phenocoder_io::fuzz::differences`.
#![no_main]

phenocoder_fuzz::target!(differences);
