//! `phenocoder_io::fuzz::categories`.
#![no_main]

phenocoder_fuzz::target!(categories);
