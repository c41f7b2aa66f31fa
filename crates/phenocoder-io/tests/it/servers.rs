//! Servers that send from place to place, or refuse what they do not have.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use phenocoder_core::ImageSource;
use phenocoder_io::{ContainerVersion, Error, OpenOptions, Store};

use super::http::{ENDLESS, Reply, Request, serve};
use super::remote::{forget_files, holds_everything, holds_vectors, local, vectors};

const REFUSED: &str = "403 Forbidden";

fn files(root: &Path, request: &Request) -> Reply {
    Reply::file(root, request).unwrap_or_else(|| Reply::new("404 Not Found"))
}

/// Serves a folder and keeps what was asked.
fn keeping(root: &Path) -> (String, Arc<Mutex<Vec<Request>>>) {
    let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
    let (root, kept) = (root.to_owned(), Arc::clone(&asked));
    let address = serve(move |request| {
        kept.lock().unwrap().push(request.clone());
        files(&root, request)
    });
    (address, asked)
}

/// Serves nothing: sends everybody to another place.
fn sending_to(place: String) -> (String, Arc<Mutex<Vec<Request>>>) {
    let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
    let kept = Arc::clone(&asked);
    let address = serve(move |request| {
        kept.lock().unwrap().push(request.clone());
        let path = request.path.split('?').next().unwrap();
        Reply::redirect(format!("{place}{path}"))
    });
    (address, asked)
}

#[test]
fn a_server_that_one_is_sent_to_learns_neither_whence_nor_who() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    let (second, asked_second) = keeping(folder.path());
    let (first, asked_first) = sending_to(second);
    let host = first.strip_prefix("http://").unwrap();
    let address = format!("http://user:password@{host}/s.zarr?token=hidden");
    holds_everything(&Store::open(address).unwrap());
    let (first, second) = (asked_first.lock().unwrap(), asked_second.lock().unwrap());
    assert_eq!(first.len(), second.len());
    for request in first.iter() {
        assert!(request.path.ends_with("?token=hidden"), "{request:?}");
        assert!(request.header("authorization").is_some(), "{request:?}");
    }
    for request in second.iter() {
        assert_eq!(request.header("referer"), None);
        assert_eq!(request.header("authorization"), None);
        assert!(!format!("{request:?}").contains("hidden"), "{request:?}");
    }
}

#[test]
fn a_server_that_one_is_sent_to_learns_no_token_and_no_key() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    let (second, asked_second) = keeping(folder.path());
    let (first, asked_first) = sending_to(second);
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let options = OpenOptions::default()
        .with_max_retries(0)
        .with_storage_option("aws_endpoint", &first)
        .with_storage_option("aws_virtual_hosted_style_request", "true")
        .with_storage_option("aws_allow_http", "true")
        .with_storage_option("aws_region", "us-east-1")
        .with_storage_option("aws_access_key_id", "test")
        .with_storage_option("aws_secret_access_key", "test")
        .with_storage_option("aws_session_token", "hidden")
        .with_storage_option("aws_server_side_encryption", "sse-c")
        .with_storage_option("aws_sse_customer_key_base64", key);
    holds_everything(&Store::open_with("s3://bucket/s.zarr", options).unwrap());
    let (first, second) = (asked_first.lock().unwrap(), asked_second.lock().unwrap());
    assert_eq!(first.len(), second.len());
    let of_file = |request: &&Request| !request.path.contains('?');
    for request in first.iter().filter(of_file) {
        assert_eq!(request.header("x-amz-security-token"), Some("hidden"));
        assert!(format!("{request:?}").contains(key), "{request:?}");
    }
    for request in second.iter() {
        let text = format!("{request:?}");
        assert!(
            !text.contains("hidden") && !text.contains("x-amz"),
            "{text}"
        );
    }
}

#[test]
fn each_redirection_counts_against_the_budget() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    for budget in [1, 2, 9, 10] {
        let (second, asked_second) = keeping(folder.path());
        let (first, asked_first) = sending_to(second);
        let options = OpenOptions::default().with_max_requests(Some(budget));
        let read = Store::open_with(format!("{first}/s.zarr"), options)
            .and_then(|store| store.image("größe"))
            .and_then(|image| {
                let region = image.shape().region();
                image.read_region(&region, &mut vec![0.0; region.checked_len().unwrap()])?;
                Ok(())
            });
        let refused = read.unwrap_err();
        assert!(
            format!("{refused:?}").contains("TooManyRequests"),
            "{refused:?}"
        );
        let sent = asked_first.lock().unwrap().len() + asked_second.lock().unwrap().len();
        assert_eq!(sent as u64, budget);
    }
}

#[test]
fn a_server_that_sends_round_in_circles_is_an_error_after_ten_times() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let address = serve(move |request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        Reply::redirect(format!("{}?{n}", request.path.split('?').next().unwrap()))
    });
    let lost = Store::open(format!("{address}/s.zarr")).unwrap_err();
    assert!(matches!(lost, Error::Remote { .. }), "{lost:?}");
    assert!(
        format!("{lost:?}").contains("TooManyRedirections"),
        "{lost:?}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 11);
}

/// Serves a folder, refuses what is not in it, and everything once told so.
fn refusing(root: &Path) -> (String, Arc<AtomicBool>) {
    let everything = Arc::new(AtomicBool::new(false));
    let (root, refuses) = (root.to_owned(), Arc::clone(&everything));
    let address = serve(move |request| {
        let file = Reply::file(&root, request).filter(|_| !refuses.load(Ordering::SeqCst));
        file.unwrap_or_else(|| Reply::new(REFUSED))
    });
    (address, everything)
}

#[test]
fn a_server_that_refuses_what_it_does_not_have_is_read() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        local(folder.path(), version);
        let (address, _) = refusing(folder.path());
        holds_everything(&Store::open(format!("{address}/s.zarr")).unwrap());
        // As SpatialData up to 0.5 has it.
        if version == ContainerVersion::V01 {
            let path = folder.path().join("s.zarr");
            std::fs::rename(path.join(".zmetadata"), path.join("zmetadata")).unwrap();
            holds_everything(&Store::open(format!("{address}/s.zarr")).unwrap());
        }
        for parts in [Some(3), None] {
            let folder = tempfile::tempdir().unwrap();
            forget_files(&vectors(folder.path(), version, parts));
            let (address, _) = refusing(folder.path());
            let store = Store::open(format!("{address}/s.zarr")).unwrap();
            holds_vectors(&store, parts.unwrap_or(1));
        }
    }
}

#[test]
fn a_server_that_refuses_everything_holds_no_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    forget_files(&vectors(folder.path(), ContainerVersion::V02, Some(3)));
    let (address, everything) = refusing(folder.path());
    everything.store(true, Ordering::SeqCst);
    let refused = Store::open(format!("{address}/s.zarr")).unwrap_err();
    assert!(matches!(refused, Error::Remote { .. }), "{refused:?}");
    assert!(
        format!("{refused:?}").contains("PermissionDenied"),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("zarr.json"), "{refused}");
    let refused = Store::open(format!("{address}/other.zarr")).unwrap_err();
    assert!(matches!(refused, Error::Remote { .. }), "{refused:?}");
    // The right to read may end: then nothing is taken for absent either.
    everything.store(false, Ordering::SeqCst);
    let store = Store::open(format!("{address}/s.zarr")).unwrap();
    everything.store(true, Ordering::SeqCst);
    let refused = store.points("p").unwrap_err();
    assert!(matches!(refused, Error::Remote { .. }), "{refused:?}");
}

#[test]
fn pixels_that_a_server_refuses_are_never_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = local(folder.path(), ContainerVersion::V02);
    std::fs::remove_file(path.join("images/größe/s0/c/0/0/0")).unwrap();
    let (address, _) = refusing(folder.path());
    let options = OpenOptions::default().with_missing_chunks(phenocoder_io::MissingChunks::Fill);
    let store = Store::open_with(format!("{address}/s.zarr"), options).unwrap();
    let image = store.image("größe").unwrap();
    let region = image.shape().region();
    let read = image.read_region(&region, &mut vec![0.0; region.checked_len().unwrap()]);
    let refused = format!("{:?}", read.unwrap_err());
    assert!(refused.contains("PermissionDenied"), "{refused}");
}

/// Sends more than it announces of each file whose address holds `which`, or that much of a page in its place.
fn without_end(
    root: &Path,
    which: &'static str,
    page: Option<&'static str>,
) -> (String, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (root, count) = (root.to_owned(), Arc::clone(&sent));
    let address = serve(move |request| {
        let reply = files(&root, request);
        if !request.path.contains(which) || request.method == "HEAD" {
            return reply;
        }
        page.map_or(reply, Reply::new).followed_by_zeros(&count)
    });
    (address, sent)
}

#[test]
fn what_a_server_sends_without_end_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    local(folder.path(), ContainerVersion::V02);
    let parts = tempfile::tempdir().unwrap();
    vectors(parts.path(), ContainerVersion::V02, Some(1));
    let options = || OpenOptions::default().with_max_retries(0);
    let open = |address: String| Store::open_with(format!("{address}/s.zarr"), options());
    let read = |address: String| {
        let image = open(address)?.image("größe")?;
        let region = image.shape().region();
        image.read_region(&region, &mut vec![0.0; region.checked_len().unwrap()])?;
        Ok(())
    };
    type Check<'a> = &'a dyn Fn(String) -> Result<(), Error>;
    let cases: [(&Path, &'static str, Option<&'static str>, Check); 4] = [
        (folder.path(), "zarr.json", None, &|address| {
            open(address).map(|_| ())
        }),
        (folder.path(), "/c/", None, &read),
        (folder.path(), "/c/", Some(REFUSED), &read),
        (parts.path(), "parquet", None, &|address| {
            open(address)?.points("p")?.read(&["x"]).map(|_| ())
        }),
    ];
    for (root, which, page, check) in cases {
        let (address, sent) = without_end(root, which, page);
        let refused = check(address);
        let sent = sent.load(Ordering::SeqCst);
        println!("{which}: {sent} bytes, {refused:?}");
        assert!(refused.is_err(), "{which}");
        // Several chunks are asked for at once.
        assert!(sent < ENDLESS, "{which}: {sent} bytes");
    }
}
