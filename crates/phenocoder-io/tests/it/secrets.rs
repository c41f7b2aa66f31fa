//! Addresses that hold credentials.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use phenocoder_io::{
    ContainerVersion, Error, OpenOptions, Store, TableData, WriteMode, copy_store,
};

/// Serves files, once per connection, and keeps what was asked.
fn serve(root: &Path) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (root, heads) = (root.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let kept = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let target = lines[0].split(' ').nth(1).unwrap();
            let path = target.split('?').next().unwrap().trim_start_matches('/');
            let (status, body) = match std::fs::read(root.join(path)) {
                Ok(bytes) => ("200 OK", bytes),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            kept.lock().unwrap().push(lines.join("\n"));
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
                body.len()
            );
            // A client that hangs up is no matter.
            let _ = stream.write_all(&[head.into_bytes(), body].concat());
        }
    });
    (host, heads)
}

/// All that an error says, with its causes.
fn told(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

#[test]
fn credentials_in_addresses_are_sent_and_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02).unwrap();
    let table = TableData::new(vec!["a".into()], vec![], None);
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let (host, heads) = serve(folder.path());
    let address = |host: &str, name: &str| {
        format!("http://user:pass%2Fword@{host}/{name}?token=hidden&sig=secret")
    };
    let options = || OpenOptions::default().with_max_retries(0);
    let mut store = Store::open_with(address(&host, "s.zarr"), options()).unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table);
    for head in heads.lock().unwrap().iter() {
        // user:pass/word
        assert!(head.contains("Basic dXNlcjpwYXNzL3dvcmQ="), "{head}");
        assert!(head.contains("token=hidden&sig=secret "), "{head}");
    }
    assert_eq!(store.address(), format!("http://***@{host}/s.zarr?***"));

    let mut told = vec![
        format!("{store:?} {:?}", store.table("t").unwrap()),
        told(
            &store
                .write_table("u", &table, WriteMode::Create)
                .unwrap_err(),
        ),
        told(&Store::open_with(address(&host, "no.zarr"), options()).unwrap_err()),
        told(&Store::open_with(address("127.0.0.1:1", "s.zarr"), options()).unwrap_err()),
        told(
            &Store::open_with(
                address(&host, "s.zarr"),
                options().with_max_requests(Some(0)),
            )
            .unwrap_err(),
        ),
        told(&Store::open_with(address("[", "s.zarr"), options()).unwrap_err()),
        told(
            &copy_store(
                folder.path(),
                address(&host, "s.zarr"),
                &phenocoder_core::NoProgress,
            )
            .unwrap_err(),
        ),
    ];
    std::fs::write(folder.path().join("s.zarr/zarr.json"), "{").unwrap();
    told.push(self::told(
        &Store::open_with(address(&host, "s.zarr"), options()).unwrap_err(),
    ));
    for scheme in ["s3", "gs", "az", "ftp"] {
        let address = address("bucket", "s.zarr").replace("http", scheme);
        told.push(self::told(
            &Store::open_with(address, options()).unwrap_err(),
        ));
    }
    for text in told {
        for secret in ["pass%2F", "pass/", "hidden", "secret", "dXNlc"] {
            assert!(!text.contains(secret), "`{secret}` in {text}");
        }
    }
}
