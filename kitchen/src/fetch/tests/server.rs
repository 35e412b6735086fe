// kitchen/src/fetch/tests/server.rs
//! A small web server that does whatever a test wants of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where a range that is asked for starts.
    pub(super) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    pub(super) fn read(stream: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        Some(Self { method, path, headers, body })
    }
}

/// Answers one request on the open connection, which is then closed. The number counts requests from 0.
pub(super) type Answer = dyn Fn(&Request, usize, &mut TcpStream) + Send + Sync;

/// A server on a port of its own, until it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn new(answer: impl Fn(&Request, usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped, answer) = (Arc::clone(&requests), Arc::clone(&stop), Arc::new(answer) as Arc<Answer>);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let Some(request) = Request::read(&mut reader) else { return };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    answer(&request, number, &mut stream);
                });
            }
        });
        Self { port, requests, stop }
    }

    /// A server with files, which knows ranges and validators.
    pub(super) fn files(files: &[(&str, &[u8])]) -> Self {
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec())).collect();
        Self::new(move |request, _, stream| match files.get(&request.path) {
            Some(content) => send_file(request, content, "\"tag\"", content.len(), stream),
            None => send(stream, "404 Not Found", &[], b"no"),
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Sends a whole answer with its length. A client that went away is no failure of the server.
pub(super) fn send(stream: &mut impl Write, status: &str, headers: &[(&str, &str)], body: &[u8]) {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("Content-Length", &length));
    send_head(stream, status, &headers);
    let _ = stream.write_all(body);
}

pub(super) fn send_head(stream: &mut impl Write, status: &str, headers: &[(&str, &str)]) {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
}

/// Sends a file, or the asked-for rest of it if the validator still holds; closes after `most` bytes of it.
pub(super) fn send_file(request: &Request, content: &[u8], tag: &str, most: usize, stream: &mut impl Write) {
    let still = request.header("if-range").is_none_or(|known| known == tag);
    let start = request.range().filter(|start| still && *start < content.len());
    let rest = &content[start.unwrap_or(0)..];
    let length = rest.len().to_string();
    let range = format!("bytes {}-{}/{}", start.unwrap_or(0), content.len() - 1, content.len());
    match start {
        Some(_) => send_head(
            stream,
            "206 Partial Content",
            &[("Content-Length", &length), ("Content-Range", &range), ("ETag", tag)],
        ),
        None => send_head(stream, "200 OK", &[("Content-Length", &length), ("ETag", tag)]),
    }
    let _ = stream.write_all(&rest[..rest.len().min(most)]);
}
