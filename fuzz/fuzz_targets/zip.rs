//! `phenocoder_io::fuzz::zip`.
#![no_main]

phenocoder_fuzz::target!(zip);
