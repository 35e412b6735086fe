// kitchen/src/fetch/tests/http.rs
//! Downloads: what servers do wrong, and what is done about it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::server::{Request, Server, send, send_file, send_head};
use super::*;

#[test]
fn a_download_is_checked_kept_and_not_repeated() {
    let bench = Bench::new();
    let content = noise(300_000);
    let server = Server::files(&[("/pub/a.tar", &content)]);
    let fetched = bench.archive(&server.url("/pub/a.tar"), &sha256(&content)).unwrap();
    assert_eq!((fetched.how, fetched.size_bytes, &*fetched.file_name), (How::Network, 300_000, "a.tar"));
    assert_eq!(bench.content(&fetched), content);
    let events = bench.events();
    let progress: Vec<(u64, Option<u64>)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Progress { done_bytes, total_bytes, .. } => Some((*done_bytes, *total_bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(progress.first(), Some(&(0, Some(300_000))));
    assert_eq!(progress.last(), Some(&(300_000, Some(300_000))));
    assert!(progress.is_sorted(), "{progress:?}");
    let again = bench.archive(&server.url("/pub/a.tar"), &sha256(&content)).unwrap();
    assert_eq!((again.how, again.content), (How::Stored, fetched.content));
    assert_eq!(server.requests().len(), 1);
    let request = &server.requests()[0];
    assert_eq!((request.header("accept-encoding"), request.header("range")), (Some("identity"), None));
    assert!(request.header("user-agent").unwrap().starts_with("conary/"));
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let bench = Bench::new();
    let content = noise(700_000);
    let served = content.clone();
    let server = Server::new(move |request, _, stream| send_file(request, &served, "\"v1\"", 250_000, stream));
    let fetched = bench.archive(&server.url("/a.tar"), &sha256(&content)).unwrap();
    assert_eq!(bench.content(&fetched), content);
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[1].range(), Some(250_000));
    assert_eq!(requests[1].header("if-range"), Some("\"v1\""));
    assert_eq!(requests[2].range(), Some(500_000));
    let resumed = bench.events().iter().filter(|event| matches!(event, Event::Resumed { .. })).count();
    assert_eq!(resumed, 2);
}

/// Breaks the first answer, and gives the second to `answer`.
fn after_a_break(
    content: &[u8],
    answer: impl Fn(&Request, &[u8], &mut std::net::TcpStream) + Send + Sync + 'static,
) -> Server {
    let content = content.to_vec();
    Server::new(move |request, number, stream| match number {
        0 => send_file(request, &content, "\"old\"", 100_000, stream),
        1 => answer(request, &content, stream),
        _ => send_file(request, &content, "\"new\"", usize::MAX, stream),
    })
}

#[test]
fn a_server_that_will_not_continue_starts_over() {
    let content = noise(200_000);
    let whole = after_a_break(&content, |_, content, stream| send(stream, "200 OK", &[], content));
    let other_place = after_a_break(&content, |_, content, stream| {
        send(stream, "206 Partial Content", &[("Content-Range", "bytes 0-199999/200000")], content);
    });
    let other_length = after_a_break(&content, |_, content, stream| {
        send(stream, "206 Partial Content", &[("Content-Range", "bytes 100000-299999/300000")], content);
    });
    let no_range =
        after_a_break(&content, |_, content, stream| send(stream, "206 Partial Content", &[], &content[100_000..]));
    let shorter = after_a_break(&content, |_, _, stream| send(stream, "416 Range Not Satisfiable", &[], b""));
    for server in [whole, other_place, other_length, no_range, shorter] {
        let bench = Bench::new();
        let fetched = bench.archive(&server.url("/a.tar"), &sha256(&content)).unwrap();
        assert_eq!(bench.content(&fetched), content);
    }
    // The file changed on the server: it is then taken whole, and is the wrong one.
    let changed = after_a_break(&content, |request, _, stream| {
        send_file(request, &noise(150_000)[1..], "\"new\"", usize::MAX, stream);
    });
    let result = Bench::new().archive(&changed.url("/a.tar"), &sha256(&content));
    assert!(matches!(result, Err(FetchError::Mismatch { .. })), "{result:?}");
    assert_eq!(changed.requests()[1].header("if-range"), Some("\"old\""));
}

#[test]
fn transient_failures_are_tried_again_and_others_are_not() {
    let content = noise(1000);
    let served = content.clone();
    let server = Server::new(move |request, number, stream| match number {
        0 => send(stream, "503 Service Unavailable", &[("Retry-After", "0")], b""),
        1 => drop(stream.shutdown(std::net::Shutdown::Both)),
        _ => send_file(request, &served, "\"v\"", usize::MAX, stream),
    });
    let bench = Bench::new();
    assert_eq!(bench.content(&bench.archive(&server.url("/a"), &sha256(&content)).unwrap()), content);
    assert_eq!(server.requests().len(), 3);
    assert_eq!(bench.events().iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 2);
    for (status, requests) in
        [("404 Not Found", 1), ("403 Forbidden", 1), ("410 Gone", 1), ("500 Oops", 3), ("429 Slow Down", 3)]
    {
        let server = Server::new(move |_, _, stream| send(stream, status, &[], b""));
        match bench.archive(&server.url("/a"), &sha256(b"x")) {
            Err(error @ FetchError::Unreachable { .. }) => {
                assert!(error.to_string().contains(&status[..3]), "{error}");
                assert!(error.hint().unwrap().contains("conary source add"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(server.requests().len(), requests, "{status}");
    }
}

#[test]
fn nobody_there_is_said_in_time() {
    let bench = Bench::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let started = Instant::now();
    let error = bench.archive(&format!("http://127.0.0.1:{port}/a.tar"), &sha256(b"x")).unwrap_err();
    assert!(matches!(&error, FetchError::Unreachable { tried, .. } if tried.len() == 1), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn redirects_are_few_and_stay_on_the_web() {
    let content = noise(1000);
    let served = content.clone();
    let target = Server::files(&[("/real.tar", &content)]);
    let real = target.url("/real.tar");
    let server = Server::new(move |request, _, stream| {
        let location = match request.path.as_str() {
            "/once" => "/twice",
            "/twice" => &real,
            "/loop" => "/loop",
            "/file" => "file:///etc/passwd",
            "/ftp" => "ftp://127.0.0.1/x",
            _ => return send(stream, "200 OK", &[], &served),
        };
        send(stream, "302 Found", &[("Location", location)], b"");
    });
    let bench = Bench::new();
    let fetched = bench.archive(&server.url("/once"), &sha256(&content)).unwrap();
    assert_eq!(fetched.origin, target.url("/real.tar"), "where it really came from");
    for (path, requests) in [("/loop", 12), ("/file", 1), ("/ftp", 1)] {
        let before = server.requests().len();
        let error = bench.archive(&server.url(path), &sha256(b"x")).unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
        assert!(server.requests().len() - before <= requests, "{path}");
    }
}

#[test]
fn a_false_length_is_noticed() {
    let bench = Bench::new();
    let content = noise(50_000);
    let longer = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[("Content-Length", "60000")]);
        let _ = stream.write_all(&noise(50_000));
    });
    let error = bench.archive(&longer.url("/a"), &sha256(&content)).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    let shorter = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[("Content-Length", "40000")]);
        let _ = stream.write_all(&noise(50_000));
    });
    let error = bench.archive(&shorter.url("/b"), &sha256(&content)).unwrap_err();
    assert!(matches!(error, FetchError::Mismatch { .. }), "{error:?}");
    // Without a length the end of the connection is the end of the file.
    let unsaid = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[]);
        let _ = stream.write_all(&noise(50_000));
    });
    assert!(bench.archive(&unsaid.url("/c"), &sha256(&content)).is_ok());
    let chunked = Server::new(|_, number, stream| {
        send_head(stream, "200 OK", &[("Transfer-Encoding", "chunked")]);
        let _ = stream.write_all(b"c350\r\n");
        let _ = stream.write_all(&noise(50_000));
        // The first time without the last chunk: cut off.
        let _ = stream.write_all(if number == 0 { b"\r\n" } else { b"\r\n0\r\n\r\n" });
    });
    let bench = Bench::new();
    assert!(bench.archive(&chunked.url("/d"), &sha256(&content)).is_ok());
    assert_eq!(chunked.requests().len(), 2);
}

#[test]
fn a_body_without_end_is_cut_off() {
    let bench = Bench::new();
    let endless = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[]);
        while stream.write_all(&[0; 8192]).is_ok() {}
    });
    let announced = Server::new(|_, _, stream| send_head(stream, "200 OK", &[("Content-Length", "99999999999999")]));
    for server in [endless, announced] {
        let error = bench.archive(&server.url("/a"), &sha256(b"x")).unwrap_err();
        assert!(error.to_string().contains("larger than the limit"), "{error}");
        assert_eq!(server.requests().len(), 1, "it is not tried again");
    }
}

#[test]
fn a_server_that_stands_still_or_crawls_is_left() {
    let mut bench = Bench::new();
    let still = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[("Content-Length", "1000")]);
        let _ = stream.write_all(b"some");
        std::thread::sleep(Duration::from_secs(4));
    });
    let silent = Server::new(|_, _, _| std::thread::sleep(Duration::from_secs(8)));
    for server in [still, silent] {
        let started = Instant::now();
        let error = bench.archive(&server.url("/a"), &sha256(b"x")).unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    }
    bench.options.low_speed = LowSpeed { bytes_per_sec: 1000, window_secs: 1 };
    bench.options.attempts = 1;
    let crawling = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[]);
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let error = bench.archive(&crawling.url("/a"), &sha256(b"x")).unwrap_err();
    assert!(error.to_string().contains("too slowly"), "{error}");
}

#[test]
fn cancelling_does_not_wait_for_the_server() {
    let mut bench = Bench::new();
    bench.options.stall_timeout = Duration::from_mins(1);
    let silent = Server::new(|_, _, stream| {
        send_head(stream, "200 OK", &[("Content-Length", "1000")]);
        std::thread::sleep(Duration::from_secs(5));
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            bench.cancel.store(true, Ordering::Relaxed);
        });
        let started = Instant::now();
        let fetched = bench.archive(&silent.url("/a"), &sha256(b"x"));
        assert!(matches!(fetched, Err(FetchError::Cancelled)));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    });
}

#[test]
fn a_proxy_is_used_where_it_is_said_and_not_elsewhere() {
    let content = noise(1000);
    let served = content.clone();
    let proxy = Server::new(move |request, _, stream| send_file(request, &served, "\"v\"", usize::MAX, stream));
    let mut bench = Bench::new();
    bench.options.proxy.http = Some(proxy.url(""));
    assert!(bench.archive("http://upstream.invalid/a.tar", &sha256(&content)).is_ok());
    assert_eq!(proxy.requests()[0].path, "http://upstream.invalid/a.tar");
    bench.options.proxy.except = Some("127.0.0.1".to_owned());
    let other = noise(2000);
    let near = Server::files(&[("/b.tar", &other)]);
    assert!(bench.archive(&near.url("/b.tar"), &sha256(&other)).is_ok());
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn https_trusts_only_whom_it_was_told_to() {
    if !has("openssl", &["version"]) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
        ])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:false",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    use rustls::pki_types::pem::PemObject;
    let certificate = rustls::pki_types::CertificateDer::from_pem_file(place.path().join("cert.pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(place.path().join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let serving = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let serving = Arc::new(serving);
    let content = noise(100_000);
    let served = content.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut connection = rustls::ServerConnection::new(Arc::clone(&serving)).unwrap();
            let mut tls = std::io::BufReader::new(rustls::Stream::new(&mut connection, &mut stream));
            let Some(request) = Request::read(&mut tls) else { continue };
            send_file(&request, &served, "\"v\"", usize::MAX, tls.get_mut());
            connection.send_close_notify();
            let _ = connection.complete_io(&mut stream);
        }
    });
    let trusting = |authorities: &[rustls::pki_types::CertificateDer<'static>]| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    let mut bench = Bench::new();
    let url = format!("https://localhost:{port}/a.tar");
    for tls in [None, Some(trusting(&[]))] {
        bench.options.tls = tls;
        let error = bench.archive(&url, &sha256(&content)).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(error.hint().unwrap().contains("certificate authorities"));
    }
    bench.options.tls = Some(trusting(&[certificate]));
    assert_eq!(bench.content(&bench.archive(&url, &sha256(&content)).unwrap()), content);
    let error = bench.archive(&format!("https://127.0.0.1:{port}/b.tar"), &sha256(b"x")).unwrap_err();
    assert!(error.to_string().contains("certificate"), "a certificate is for its own host: {error}");
}
