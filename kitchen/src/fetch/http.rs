// kitchen/src/fetch/http.rs
//! HTTP and HTTPS: one request at a time, watched while it runs.
//!
//! A request runs in a thread of its own and hands over pieces through a short queue, so that the caller can stop
//! waiting within a tenth of a second, and can tell a slow server from a dead one. A download that breaks goes on
//! where it broke (`Range`, and `If-Range` with the validator of the first answer); a server that will not have it,
//! or whose file has changed, starts it over. Transient failures (5xx, 408, 429, resets, timeouts, a body that ends too
//! early) are tried again with doubled delays; a 404 is not. Redirects go at most ten times and to HTTP(S) only.
//! Bodies are taken as they are: nothing asks for, or undoes, a content encoding.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER};
use reqwest::{StatusCode, redirect};

use super::{Event, Options};

/// Redirects that are followed for one request.
const REDIRECTS: usize = 10;
/// Broken transfers of one file that are resumed, however far each came.
const RESUMPTIONS: u32 = 100;
/// How long a caller waits at most before it looks whether to stop.
const TICK: Duration = Duration::from_millis(100);
/// The longest that a server can make us wait with `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why a request failed for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The server answered, and not with the file.
    #[error("the server answered {status}")]
    Status {
        /// Number and words.
        status: String,
    },
    /// All attempts failed.
    #[error("{reason}, {attempts} times")]
    Exhausted {
        /// What the last one died of.
        reason: String,
        /// How many there were.
        attempts: u32,
    },
    /// More than the limit came, or was announced.
    #[error("the file is larger than the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The server's certificate is not accepted.
    #[error("the server's certificate is not accepted: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be made.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// What was received could not be kept.
    #[error("what was received cannot be kept")]
    Sink(#[source] io::Error),
    /// The server sends whole files only.
    #[error("the server gives no parts of files")]
    NoParts,
    /// The file is another one than earlier parts came from.
    #[error("the server's file changed while it was read")]
    Changed,
    /// The caller cancelled.
    #[error("interrupted")]
    Cancelled,
}

/// Where a download goes.
pub(super) trait Sink {
    /// Bytes that it has.
    fn done(&self) -> u64;
    /// Takes more of them.
    fn push(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Forgets all of them.
    fn restart(&mut self);
}

/// What happened to one try.
enum Failure {
    /// It may go better next time, after this long.
    Transient(String, Option<Duration>),
    Final(HttpError),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Final(error)
    }
}

/// A client that is made when it is first needed.
pub(super) struct Http<'o> {
    options: &'o Options,
    client: OnceCell<Client>,
    cancel: &'o AtomicBool,
    events: &'o dyn Fn(Event),
}

impl<'o> Http<'o> {
    pub(super) fn new(options: &'o Options, cancel: &'o AtomicBool, events: &'o dyn Fn(Event)) -> Self {
        Self { options, client: OnceCell::new(), cancel, events }
    }

    /// Downloads `url` into `sink` and returns the URL that redirects led to.
    pub(super) fn download(&self, url: &str, file: &str, sink: &mut dyn Sink) -> Result<String, HttpError> {
        let mut tries = Tries::default();
        let mut known = Known::default();
        loop {
            let start = sink.done();
            match self.transfer(url, file, sink, &mut known) {
                Ok(landed) => return Ok(landed),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(reason, wait)) => {
                    self.again(&mut tries, sink.done() > start, url, file, reason, wait)?;
                }
            }
        }
    }

    /// Sends a request and gives its body as a stream, trying again until an answer begins.
    pub(super) fn open(&self, url: &str, make: &dyn Fn(&Client) -> RequestBuilder) -> Result<Body<'o>, HttpError> {
        let mut tries = Tries::default();
        loop {
            let answer = self.send(url, make(self.client(url)?));
            let failure = match answer {
                Ok(answer) if answer.head.status.is_success() => return Ok(answer.body),
                Ok(answer) => answer.head.failure(),
                Err(failure) => failure,
            };
            match failure {
                Failure::Final(error) => return Err(error),
                Failure::Transient(reason, wait) => self.again(&mut tries, false, url, url, reason, wait)?,
            }
        }
    }

    /// Gets `length` bytes of a file from `offset` on, or what there is up to its end; and the length of the whole file.
    pub(super) fn part(
        &self,
        url: &str,
        offset: u64,
        length: u64,
        known: &mut Known,
    ) -> Result<(Vec<u8>, u64), HttpError> {
        let mut tries = Tries::default();
        loop {
            match self.try_part(url, offset, length, known) {
                Ok(part) => return Ok(part),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(reason, wait)) => self.again(&mut tries, false, url, url, reason, wait)?,
            }
        }
    }

    /// One try to get a part.
    fn try_part(&self, url: &str, offset: u64, length: u64, known: &mut Known) -> Result<(Vec<u8>, u64), Failure> {
        let last = offset.saturating_add(length.max(1)) - 1;
        let mut request = self.client(url)?.get(url).header(ACCEPT_ENCODING, "identity");
        request = request.header(RANGE, format!("bytes={offset}-{last}"));
        if let Some(validator) = &known.validator {
            request = request.header(IF_RANGE, validator);
        }
        let answer = self.send(url, request)?;
        match answer.head.status {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::OK if known.total.is_some() => return Err(HttpError::Changed.into()),
            StatusCode::OK => return Err(HttpError::NoParts.into()),
            _ => return Err(answer.head.failure()),
        }
        let Some((from, Some(total))) = answer.head.range else { return Err(HttpError::NoParts.into()) };
        if known.total.is_some_and(|known| known != total) {
            return Err(HttpError::Changed.into());
        }
        if total > self.options.max_bytes {
            return Err(HttpError::TooLarge { limit_bytes: self.options.max_bytes }.into());
        }
        let expected = length.min(total.saturating_sub(offset));
        let mut bytes = Vec::new();
        let mut body = answer.body;
        while let Some(piece) = body.next()? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > expected {
                return Err(HttpError::NoParts.into());
            }
        }
        if from != offset || bytes.len() as u64 != expected {
            return Err(Failure::Transient("the part ended too early".to_owned(), None));
        }
        known.total = Some(total);
        known.validator = answer.head.validator.or_else(|| known.validator.take());
        Ok((bytes, total))
    }

    /// Counts a failed try, and waits before the next one or gives up.
    fn again(
        &self,
        tries: &mut Tries,
        moved: bool,
        url: &str,
        file: &str,
        reason: String,
        wait: Option<Duration>,
    ) -> Result<(), HttpError> {
        if moved {
            tries.in_a_row = 0;
        }
        tries.in_a_row += 1;
        tries.in_all += 1;
        if tries.in_a_row >= self.options.attempts || tries.in_all >= RESUMPTIONS {
            return Err(HttpError::Exhausted { reason, attempts: tries.in_all });
        }
        let doubled = self.options.retry_delay.saturating_mul(1 << (tries.in_a_row - 1).min(10));
        let delay = wait.unwrap_or(doubled).min(LONGEST_WAIT);
        (self.events)(Event::Retrying { file: file.to_owned(), url: redact(url), reason, delay });
        let until = Instant::now() + delay;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.check()?;
            std::thread::sleep(left.min(TICK));
        }
        self.check()
    }

    fn check(&self) -> Result<(), HttpError> {
        if self.cancel.load(Ordering::Relaxed) { Err(HttpError::Cancelled) } else { Ok(()) }
    }

    /// One try to get the rest of a file.
    fn transfer(&self, url: &str, file: &str, sink: &mut dyn Sink, known: &mut Known) -> Result<String, Failure> {
        let limit = self.options.max_bytes;
        let start = sink.done();
        let mut request = self.client(url)?.get(url).header(ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
            if let Some(validator) = &known.validator {
                request = request.header(IF_RANGE, validator);
            }
        }
        let answer = self.send(url, request)?;
        let total = match answer.head.status {
            StatusCode::OK => {
                if start > 0 {
                    sink.restart();
                }
                answer.head.length
            }
            StatusCode::PARTIAL_CONTENT if start > 0 => {
                let (from, total) = answer.head.range.unwrap_or((u64::MAX, None));
                if from != start || (total.is_some() && known.total.is_some() && total != known.total) {
                    sink.restart();
                    return Err(Failure::Transient(
                        "the server continued another file".to_owned(),
                        Some(Duration::ZERO),
                    ));
                }
                (self.events)(Event::Resumed { file: file.to_owned(), at_bytes: start });
                total.or_else(|| answer.head.length.map(|rest| start + rest))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                sink.restart();
                return Err(Failure::Transient("the server's file is shorter by now".to_owned(), Some(Duration::ZERO)));
            }
            _ => return Err(answer.head.failure()),
        };
        if total.is_some_and(|total| total > limit) {
            return Err(HttpError::TooLarge { limit_bytes: limit }.into());
        }
        known.total = total.or(known.total);
        known.validator = answer.head.validator.or_else(|| known.validator.take());
        let mut body = answer.body;
        let progress =
            |done| (self.events)(Event::Progress { file: file.to_owned(), done_bytes: done, total_bytes: total });
        progress(sink.done());
        while let Some(piece) = body.next()? {
            if sink.done() + piece.len() as u64 > limit {
                return Err(HttpError::TooLarge { limit_bytes: limit }.into());
            }
            sink.push(&piece).map_err(HttpError::Sink)?;
            progress(sink.done());
        }
        if total.is_some_and(|total| sink.done() < total) {
            return Err(Failure::Transient("the file ended too early".to_owned(), None));
        }
        Ok(answer.head.url)
    }

    /// Sends a request in a thread of its own and waits for the beginning of the answer.
    fn send(&self, url: &str, request: RequestBuilder) -> Result<Answer<'o>, Failure> {
        if self.options.tls.is_none() && url.starts_with("https:") {
            return Err(
                HttpError::Certificate { reason: "no certificate authorities are configured".to_owned() }.into()
            );
        }
        let (sender, pieces) = sync_channel(8);
        std::thread::spawn(move || run(request, &sender));
        let mut body = Body::new(pieces, self.cancel, self.options);
        // Connecting has its own limit, and an answer may take as long to begin as a body may stand still.
        let patience = self.options.connect_timeout + body.stall;
        match body.receive(patience)? {
            Piece::Head(head) => {
                body.window = (Instant::now(), 0);
                Ok(Answer { head: *head, body })
            }
            Piece::Bytes(_) | Piece::End => Err(Failure::Transient("the answer had no beginning".to_owned(), None)),
        }
    }

    fn client(&self, url: &str) -> Result<&Client, HttpError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = make_client(self.options).map_err(|error| HttpError::Refused {
            reason: format!("no HTTP client can be made for {}: {}", redact(url), innermost(&error)),
        })?;
        Ok(self.client.get_or_init(|| client))
    }
}

/// How often a file was tried.
#[derive(Default)]
struct Tries {
    /// Since bytes last came.
    in_a_row: u32,
    in_all: u32,
}

/// What earlier answers said about a file.
#[derive(Default)]
pub(super) struct Known {
    total: Option<u64>,
    validator: Option<String>,
}

/// The beginning of an answer.
struct Head {
    status: StatusCode,
    url: String,
    length: Option<u64>,
    /// Where a partial answer starts, and how long the whole is.
    range: Option<(u64, Option<u64>)>,
    validator: Option<String>,
    retry_after: Option<Duration>,
}

impl Head {
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        Self {
            status: response.status(),
            url: response.url().to_string(),
            length: response.content_length(),
            range: text(headers, CONTENT_RANGE.as_str()).and_then(content_range),
            // A weak tag does not promise the same bytes, and cannot be used with a range.
            validator: text(headers, ETAG.as_str())
                .filter(|tag| !tag.starts_with("W/"))
                .or_else(|| text(headers, LAST_MODIFIED.as_str()))
                .map(str::to_owned),
            retry_after: text(headers, RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// What an answer that is not the file means.
    fn failure(&self) -> Failure {
        let status = self.status.to_string();
        let is_transient = matches!(self.status.as_u16(), 408 | 429 | 500 | 502..=504);
        if is_transient {
            Failure::Transient(format!("the server answered {status}"), self.retry_after)
        } else {
            Failure::Final(HttpError::Status { status })
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Reads `bytes FIRST-LAST/TOTAL`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, total))
}

struct Answer<'c> {
    head: Head,
    body: Body<'c>,
}

/// What comes out of a request's thread.
enum Piece {
    Head(Box<Head>),
    Bytes(Vec<u8>),
    End,
}

type Sent = Result<Piece, Failure>;

/// Runs in its own thread: the request, then its body, until the receiver is gone.
fn run(request: RequestBuilder, sender: &SyncSender<Sent>) {
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => return drop(sender.send(Err(classify(&error)))),
    };
    if sender.send(Ok(Piece::Head(Box::new(Head::of(&response))))).is_err() {
        return;
    }
    pass_on(&mut response, sender);
}

/// Hands over what a reader gives, until its end or until nobody listens.
fn pass_on(reader: &mut impl Read, sender: &SyncSender<Sent>) {
    loop {
        let mut piece = vec![0; 64 << 10];
        let sent = match reader.read(&mut piece) {
            Ok(0) => return drop(sender.send(Ok(Piece::End))),
            Ok(count) => {
                piece.truncate(count);
                sender.send(Ok(Piece::Bytes(piece)))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return drop(sender.send(Err(Failure::Transient(innermost(&error), None)))),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Tells what may go better next time from what will not.
fn classify(error: &reqwest::Error) -> Failure {
    let reason = innermost(error);
    if error.is_redirect() || error.is_builder() {
        return Failure::Final(HttpError::Refused { reason });
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        let tls = inner.downcast_ref::<rustls::Error>();
        if let Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) = tls {
            return Failure::Final(HttpError::Certificate { reason });
        }
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    if error.is_timeout() {
        Failure::Transient("the server did not answer in time".to_owned(), None)
    } else {
        Failure::Transient(reason, None)
    }
}

/// The last of an error's causes, which says what happened; the ones before it say where.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    crate::shown::shown(last.to_string().as_bytes())
}

/// The body of an answer as it comes in.
pub(super) struct Body<'c> {
    pieces: Receiver<Sent>,
    cancel: &'c AtomicBool,
    stall: Duration,
    slowest: LowSpeed,
    /// Since when, and how many bytes, for the lowest speed.
    window: (Instant, u64),
    current: Vec<u8>,
    at: usize,
}

/// The speed below which a transfer counts as broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowSpeed {
    /// Bytes in a second; 0 accepts any.
    pub bytes_per_sec: u64,
    /// Over how many seconds it is taken.
    pub window_secs: u64,
}

impl<'c> Body<'c> {
    /// What comes out of any reader, watched in the same way; the reader runs in a thread of its own.
    pub(super) fn of(mut reader: impl Read + Send + 'static, cancel: &'c AtomicBool, options: &Options) -> Self {
        let (sender, pieces) = sync_channel(8);
        std::thread::spawn(move || pass_on(&mut reader, &sender));
        Self::new(pieces, cancel, options)
    }

    fn new(pieces: Receiver<Sent>, cancel: &'c AtomicBool, options: &Options) -> Self {
        let stall = options.stall_timeout + TICK * 5;
        Self {
            pieces,
            cancel,
            stall,
            slowest: options.low_speed,
            window: (Instant::now(), 0),
            current: Vec::new(),
            at: 0,
        }
    }

    /// The next piece; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.receive(self.stall)? {
            Piece::Bytes(bytes) => {
                self.window.1 += bytes.len() as u64;
                let elapsed = self.window.0.elapsed();
                if elapsed >= Duration::from_secs(self.slowest.window_secs) {
                    if self.window.1 < self.slowest.bytes_per_sec.saturating_mul(elapsed.as_secs()) {
                        return Err(Failure::Transient("the server sends too slowly".to_owned(), None));
                    }
                    self.window = (Instant::now(), 0);
                }
                Ok(Some(bytes))
            }
            Piece::End => Ok(None),
            Piece::Head(_) => Err(Failure::Transient("the answer began twice".to_owned(), None)),
        }
    }

    fn receive(&mut self, patience: Duration) -> Result<Piece, Failure> {
        let started = Instant::now();
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(HttpError::Cancelled.into());
            }
            match self.pieces.recv_timeout(TICK) {
                Ok(sent) => return sent,
                Err(RecvTimeoutError::Timeout) if started.elapsed() < patience => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::Transient("the server stopped sending".to_owned(), None));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Transient("the connection broke".to_owned(), None));
                }
            }
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.next() {
                Ok(Some(piece)) => (self.current, self.at) = (piece, 0),
                Ok(None) => return Ok(0),
                Err(Failure::Final(error)) => return Err(io::Error::other(error)),
                Err(Failure::Transient(reason, _)) => return Err(io::Error::other(reason)),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn make_client(options: &Options) -> Result<Client, reqwest::Error> {
    let follow = redirect::Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if matches!(attempt.url().scheme(), "http" | "https") {
            attempt.follow()
        } else {
            attempt.error("a redirect to something that is not HTTP")
        }
    });
    let mut builder = Client::builder()
        .user_agent(&options.user_agent)
        .redirect(follow)
        .connect_timeout(options.connect_timeout)
        .timeout(options.stall_timeout)
        .tls_backend_preconfigured(options.tls.clone().unwrap_or_else(no_authorities))
        .no_proxy();
    let except = options.proxy.except.as_deref().and_then(reqwest::NoProxy::from_string);
    if let Some(proxy) = &options.proxy.http {
        builder = builder.proxy(reqwest::Proxy::http(proxy)?.no_proxy(except.clone()));
    }
    if let Some(proxy) = &options.proxy.https {
        builder = builder.proxy(reqwest::Proxy::https(proxy)?.no_proxy(except));
    }
    builder.build()
}

/// A TLS configuration that trusts nobody, for a client that is to speak plain HTTP alone.
fn no_authorities() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("because the provider's own versions are all known")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// A URL without the name and password that may be in it.
pub(super) fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return crate::shown::shown(url.as_bytes()) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let rest = rest[..end].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    crate::shown::shown(format!("{scheme}://{rest}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let table = [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes -9/10", None),
            ("bytes 99999999999999999999-1/2", None),
        ];
        for (value, range) in table {
            assert_eq!(content_range(value), range, "{value}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redact("https://me:secret@example.org/a@b"), "https://example.org/a@b");
        assert_eq!(redact("https://example.org/a@b"), "https://example.org/a@b");
        assert_eq!(redact("http://a@b:c@example.org?x"), "http://example.org?x");
    }
}
