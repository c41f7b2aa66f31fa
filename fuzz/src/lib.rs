//! What the fuzz targets share: a mutator that keeps the syntax of JSON, one thread, and what counts as a panic.

mod tree;

/// A target whose input is bytes.
#[macro_export]
macro_rules! target {
    ($entry:ident) => {
        libfuzzer_sys::fuzz_target!(init: $crate::prepare(), |input: &[u8]| {
            let _ = phenocoder_io::fuzz::$entry(input);
        });
    };
}

/// A target whose input is JSON: half of the mutations keep its syntax.
#[macro_export]
macro_rules! json_target {
    ($entry:ident) => {
        $crate::target!($entry);
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate_json(data, size, max_size, seed)
        });
    };
}

/// Makes the calling thread the only one that rayon has: no time is lost between threads, and a stack shows its cause.
///
/// A panic of our own code ends the program where it starts, also within the parquet crate's decoders, which ask our code
/// for pages: phenocoder-io catches the panics of those decoders and makes errors of them, so that theirs end it only
/// where they leave the entry point.
pub fn prepare() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()
        .expect("nobody has asked for threads before");
    // libFuzzer's own ends the program at any panic.
    std::panic::set_hook(Box::new(|panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !file.contains("/parquet-") {
            eprintln!("{panic}");
        }
        if file.contains("phenocoder") && !file.contains("/registry/") {
            std::process::abort();
        }
    }));
}

/// Changes a JSON text at one to four places of its tree, or its bytes when it is none.
pub fn mutate_json(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if seed % 2 == 0
        && let Ok(mut value) = serde_json::from_slice(&data[..size])
    {
        let mut dice = tree::Dice::new(seed);
        for _ in 0..1 + dice.below(4) {
            tree::mutate(&mut value, &mut dice);
        }
        let text = value.to_string();
        if text.len() <= max_size {
            data[..text.len()].copy_from_slice(text.as_bytes());
            return text.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}
