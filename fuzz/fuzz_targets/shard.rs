//! `phenocoder_io::fuzz::shard`.
#![no_main]

phenocoder_fuzz::target!(shard);
