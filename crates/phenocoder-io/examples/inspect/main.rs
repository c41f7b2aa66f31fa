//! Shows what a store holds: `inspect STORE` for people, `inspect --json STORE` for programs.
//!
//! `--validate` reads the tables and lists every rule that the store breaks.
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
    let (options, paths): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let asked = |name: &str| options.iter().any(|option| option == name);
    let json = asked("--json");
    let [path] = paths.as_slice() else {
        println!("usage: inspect [--json | --validate] STORE");
        return ExitCode::from(if paths.is_empty() { 0 } else { 2 });
    };
    match Store::open(path) {
        Ok(store) if json => {
            println!("{:#}", describe::describe(&store));
            ExitCode::SUCCESS
        }
        Ok(store) => {
            human::print(path, &store);
            if asked("--validate") {
                human::print_violations(&store);
            }
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
