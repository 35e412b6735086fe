// tests/support/server.rs
//! A small HTTP server on loopback that serves bytes, and misbehaves when told to.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should, with ranges.
    Honest,
    /// Sends the whole file, whatever part is asked for.
    WholeFiles,
    /// Always closes the connection after half of what was asked for.
    Truncates,
    /// Closes the first answer after half, and is honest from then on.
    StumblesOnce,
    /// Sends ten pieces, a fifth of a second apart.
    Paces,
    /// Sends a byte now and then, for ever.
    Crawls,
    /// Answers everything with this status.
    Status(u16),
}

/// What is served.
enum Body {
    Bytes(Vec<u8>),
    File(File, usize),
}

impl Body {
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(_, length) => *length,
        }
    }

    fn part(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(&bytes[range]),
            Self::File(file, _) => {
                let mut part = vec![0; range.len()];
                file.read_exact_at(&mut part, range.start as u64).unwrap();
                Cow::Owned(part)
            }
        }
    }
}

/// A running server. It ends with the test.
pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Serves `body` under every path.
    pub fn start(body: Vec<u8>, manner: Manner) -> Self {
        Self::serve(Body::Bytes(body), manner)
    }

    /// Serves a file, which may be larger than memory, under every path.
    pub fn start_file(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let length = file.metadata().unwrap().len().try_into().unwrap();
        Self::serve(Body::File(file, length), Manner::Honest)
    }

    fn serve(body: Body, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&requests);
        let ended = Arc::clone(&stop);
        let body = Arc::new(body);
        let answered = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, ended, body, answered) =
                    (Arc::clone(&seen), Arc::clone(&ended), Arc::clone(&body), Arc::clone(&answered));
                thread::spawn(move || {
                    let number = answered.fetch_add(1, Ordering::SeqCst);
                    let _ = answer(stream, &body, manner, number, &seen, &ended);
                });
            }
        });
        Self { port, requests, stop }
    }

    /// The URL of a file on this server.
    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// The requests so far: request line and range.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(
    mut stream: TcpStream,
    body: &Body,
    manner: Manner,
    number: usize,
    seen: &Mutex<Vec<String>>,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut start, mut end) = (None, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(range) = lower.strip_prefix("range: bytes=") {
            let mut words = range.split('-').map(|text| text.trim().parse::<usize>().ok());
            start = words.next().flatten();
            end = words.next().flatten();
        }
    }
    if manner == Manner::WholeFiles {
        (start, end) = (None, None);
    }
    let last = end.map_or_else(String::new, |end| format!(" to {end}"));
    let range = start.map_or_else(String::new, |start| format!(" from {start}{last}"));
    seen.lock().unwrap().push(format!("{}{range}", first.trim()));
    if let Manner::Status(status) = manner {
        return write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let from = start.unwrap_or(0).min(body.length());
    let until = end.map_or(body.length(), |end| (end + 1).clamp(from, body.length()));
    let part = body.part(from..until);
    let status = if start.is_some() { "206 Partial Content" } else { "200 OK" };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nETag: \"one\"\r\n", part.len())?;
    if start.is_some() {
        write!(stream, "Content-Range: bytes {from}-{}/{}\r\n", until.saturating_sub(1), body.length())?;
    }
    write!(stream, "Connection: close\r\n\r\n")?;
    match manner {
        Manner::Truncates => stream.write_all(&part[..part.len() / 2]),
        Manner::StumblesOnce if number == 0 => stream.write_all(&part[..part.len() / 2]),
        Manner::Paces => {
            for piece in part.chunks(part.len().div_ceil(10).max(1)) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        Manner::Crawls => {
            for byte in part.iter() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                stream.write_all(&[*byte])?;
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        }
        _ => stream.write_all(&part),
    }
}
