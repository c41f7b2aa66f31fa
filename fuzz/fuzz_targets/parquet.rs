//! `phenocoder_io::fuzz::parquet`.
#![no_main]

phenocoder_fuzz::target!(parquet);
