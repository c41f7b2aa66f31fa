//! `phenocoder_io::fuzz::page_header`.
#![no_main]

phenocoder_fuzz::target!(page_header);
