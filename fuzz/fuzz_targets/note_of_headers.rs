//! `phenocoder_io::fuzz::note_of_headers`.
#![no_main]

phenocoder_fuzz::target!(note_of_headers);
