//! `phenocoder_io::fuzz::data_frame`.
#![no_main]

phenocoder_fuzz::json_target!(data_frame);
