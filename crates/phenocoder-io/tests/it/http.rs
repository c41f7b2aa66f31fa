//! A web server of the tests: it hands each request to a function and sends what that answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    head: String,
}

impl Request {
    fn parse(head: String) -> Self {
        let mut words = head.split_whitespace();
        let method = words.next().unwrap().to_owned();
        let path = words.next().unwrap().to_owned();
        Self { method, path, head }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// First and last byte asked for.
    fn range(&self) -> Option<(usize, usize)> {
        let (from, to) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Where more follows: the bytes that were sent of it.
    more: Option<Arc<AtomicUsize>>,
}

/// The most that is sent by a server that does not end by itself.
pub(super) const ENDLESS: usize = 256 << 20;

impl Reply {
    pub(super) fn new(status: &'static str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            more: None,
        }
    }

    /// Has zeros follow the body, whatever length was announced, as long as somebody listens; they are counted.
    pub(super) fn followed_by_zeros(mut self, sent: &Arc<AtomicUsize>) -> Self {
        self.headers
            .push(("Transfer-Encoding", "chunked".to_owned()));
        self.more = Some(Arc::clone(sent));
        self
    }

    pub(super) fn redirect(address: String) -> Self {
        Self {
            headers: vec![("Location", address)],
            ..Self::new("302 Found")
        }
    }

    /// A whole file, or the part that was asked for.
    pub(super) fn bytes(bytes: Vec<u8>, request: &Request) -> Self {
        let Some((from, to)) = request.range() else {
            return Self {
                body: bytes,
                ..Self::new("200 OK")
            };
        };
        let range = format!("bytes {from}-{to}/{}", bytes.len());
        Self {
            headers: vec![("Content-Range", range)],
            body: bytes[from..=to.min(bytes.len() - 1)].to_vec(),
            ..Self::new("206 Partial Content")
        }
    }

    /// The file that a request names, of a folder.
    pub(super) fn file(root: &Path, request: &Request) -> Option<Self> {
        let path = request.path.split('?').next().unwrap();
        let file = root.join(decode(path).trim_start_matches('/'));
        Some(Self::bytes(std::fs::read(file).ok()?, request))
    }

    fn send(&self, mut stream: &TcpStream, request: &Request) -> std::io::Result<()> {
        write!(
            stream,
            "HTTP/1.1 {}\r\nContent-Length: {}\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            self.status,
            self.body.len()
        )?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let Some(sent) = &self.more else {
            return stream.write_all(&self.body);
        };
        let zeros = vec![0; 1 << 16];
        // A part of no bytes would be the end.
        let body = Some(&self.body).filter(|body| !body.is_empty());
        let zeros = std::iter::repeat_n(&zeros, ENDLESS / zeros.len());
        for part in body.into_iter().chain(zeros) {
            write!(stream, "{:x}\r\n", part.len())?;
            stream.write_all(part)?;
            stream.write_all(b"\r\n")?;
            sent.fetch_add(part.len(), Ordering::SeqCst);
        }
        stream.write_all(b"0\r\n\r\n")
    }
}

/// Answers requests until the tests end; the address of the server.
pub(super) fn serve(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let reply = Arc::new(reply);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let reply = Arc::clone(&reply);
            std::thread::spawn(move || {
                // A client that hangs up ends the thread.
                let _ = answer(&stream.unwrap(), &*reply);
            });
        }
    });
    address
}

fn answer(mut stream: &TcpStream, reply: &dyn Fn(&Request) -> Reply) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
            let request = Request::parse(text);
            reply(&request).send(stream, &request)?;
        }
    }
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}
