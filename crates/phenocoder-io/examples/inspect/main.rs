//! Shows what a store holds: `inspect STORE` for people, `inspect --json STORE` for programs.
//!
//! The JSON is the full logical content in the layout of the conformance cases' `expected.json`, with hashes of all
//! arrays and columns. A broken element is shown with its error and leaves the others readable.

#![expect(clippy::print_stdout, reason = "an example prints")]

#[path = "describe.rs"]
mod describe;
#[path = "human.rs"]
mod human;

use std::process::ExitCode;

use phenocoder_io::Store;
use serde_json::json;

fn main() -> ExitCode {
    let mut json = false;
    let mut path = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => json = true,
            _ if path.is_none() => path = Some(argument),
            _ => path = None,
        }
    }
    let Some(path) = path else {
        println!("usage: inspect [--json] STORE");
        return ExitCode::from(2);
    };
    match Store::open(&path) {
        Ok(store) if json => {
            println!("{:#}", describe::describe(&store));
            ExitCode::SUCCESS
        }
        Ok(store) => {
            human::print(&path, &store);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let entry = describe::error_entry(&error, "", "open");
            if json {
                println!("{:#}", json!({"error": entry, "errors": [entry]}));
            } else {
                println!("{}", entry["message"].as_str().unwrap_or_default());
            }
            ExitCode::FAILURE
        }
    }
}
