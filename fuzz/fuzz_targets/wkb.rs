//! `phenocoder_io::fuzz::wkb`.
#![no_main]

phenocoder_fuzz::target!(wkb);
