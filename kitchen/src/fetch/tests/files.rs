// kitchen/src/fetch/tests/files.rs
//! Claims, places and what the store remembers of them.

use recipes::Algorithm;

use super::super::file::is_known_from;
use super::server::{Server, send, send_file};
use super::*;

#[test]
fn what_does_not_match_is_shown_and_not_kept() {
    let bench = Bench::new();
    let server = Server::files(&[("/hello-2.12.1.tar.gz", b"other bytes")]);
    let expected = sha256(b"the right bytes");
    let error = bench.archive(&server.url("/hello-2.12.1.tar.gz"), &expected).unwrap_err();
    let text = format!(
        "source hello-2.12.1.tar.gz does not match its digest\n  expected {expected}  got {}",
        sha256(b"other bytes")
    );
    assert_eq!(error.to_string(), text);
    assert!(error.hint().unwrap().contains("re-released"));
    let object = Digest::blake3(*::blake3::hash(b"other bytes").as_bytes());
    assert!(!bench.store.has(&object).unwrap());
    assert!(bench.store.sources().unwrap().is_empty());
}

#[test]
fn every_checksum_of_a_list_must_hold() {
    let bench = Bench::new();
    let content = noise(5000);
    let server = Server::files(&[("/a", &content)]);
    let list = |digests: &[String]| format!("[source]\narchive = \"{}\"\nchecksum = {digests:?}", server.url("/a"));
    let all_of: Vec<String> = Algorithm::ALL.iter().map(|algorithm| digest(*algorithm, &content)).collect();
    let fetched = bench.fetch(&list(&all_of)).unwrap();
    assert_eq!(bench.content(&fetched[0]), content);
    // Also when one of them is known to the store.
    let wrong = [sha256(&content), digest(Algorithm::Sha512, b"other")];
    for _ in 0..2 {
        let error = bench.fetch(&list(&wrong)).unwrap_err();
        assert!(matches!(error, FetchError::Mismatch { .. }), "{error:?}");
    }
    assert!(matches!(Bench::new().fetch(&list(&wrong)), Err(FetchError::Mismatch { .. })));
    // Any of them alone finds the file again, without the server.
    drop(server);
    for claim in all_of {
        let mut offline = bench
            .fetch(&format!("[source]\narchive = \"http://127.0.0.1:1/elsewhere/a\"\nchecksum = \"{claim}\""))
            .unwrap();
        assert_eq!(offline.remove(0).how, How::Stored, "{claim}");
    }
}

#[test]
fn a_file_on_this_machine_is_read_and_checked() {
    let bench = Bench::new();
    let path = bench.write("a.tar", b"local");
    for url in ["a.tar".to_owned(), format!("file://{}", path.display()), path.display().to_string()] {
        let fetched = bench.archive(&url, &sha256(b"local")).unwrap();
        assert_eq!((fetched.how, bench.content(&fetched)), (How::Local, b"local".to_vec()), "{url}");
    }
    // A change shows although the store knows the claim.
    bench.write("a.tar", b"LOCAL");
    assert!(matches!(bench.archive("a.tar", &sha256(b"local")), Err(FetchError::Mismatch { .. })));
    let missing = bench.archive("missing.tar", &sha256(b"x")).unwrap_err();
    assert!(matches!(missing, FetchError::Missing { .. }), "{missing:?}");
    std::fs::create_dir(bench.directory().join("directory")).unwrap();
    assert!(matches!(bench.archive("directory", &sha256(b"x")), Err(FetchError::Kind { .. })));
    let made = Command::new("mkfifo").arg(bench.directory().join("fifo")).status().unwrap();
    assert!(made.success());
    assert!(
        matches!(bench.archive("fifo", &sha256(b"x")), Err(FetchError::Kind { .. })),
        "and nobody waits for a writer"
    );
}

#[test]
fn distfiles_serve_by_name_and_by_content() {
    let mut bench = Bench::new();
    bench.options.offline = true;
    let distfiles = bench.place.path().join("distfiles");
    std::fs::create_dir(&distfiles).unwrap();
    bench.options.distfiles = vec![bench.place.path().join("none"), distfiles.clone()];
    std::fs::write(distfiles.join("a.tar"), b"a").unwrap();
    std::fs::write(distfiles.join("renamed"), b"b").unwrap();
    std::fs::write(distfiles.join("c.tar"), b"stale").unwrap();
    std::fs::write(distfiles.join("z-the-real-c"), b"c").unwrap();
    std::fs::create_dir(distfiles.join("directory")).unwrap();
    for (name, content) in [("a.tar", b"a"), ("b.tar", b"b"), ("c.tar", b"c")] {
        let fetched = bench.archive(&format!("https://upstream.invalid/{name}"), &sha256(content)).unwrap();
        assert_eq!((fetched.how, bench.content(&fetched)), (How::Distfiles, content.to_vec()), "{name}");
    }
    let error = bench.archive("https://upstream.invalid/d.tar", &sha256(b"d")).unwrap_err();
    assert!(matches!(error, FetchError::Offline { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("conary mirror add"));
    // A name that leads out of the directory names nothing.
    std::fs::write(bench.place.path().join("secret"), b"secret").unwrap();
    let error = bench.archive("https://upstream.invalid/..%2fsecret", &sha256(b"secret")).unwrap_err();
    assert!(matches!(error, FetchError::Offline { .. }), "{error:?}");
}

#[test]
fn a_file_that_was_added_is_found_by_any_claim() {
    let mut bench = Bench::new();
    bench.options.offline = true;
    let path = bench.write("by-hand.tar", b"by hand");
    let added = add(&path, &bench.store, &bench.cancel, &|_| {}).unwrap();
    assert_eq!((added.size_bytes, added.digests.len()), (7, Algorithm::ALL.len()));
    std::fs::remove_file(path).unwrap();
    for algorithm in Algorithm::ALL {
        let fetched = bench.archive("https://upstream.invalid/by-hand.tar", &digest(algorithm, b"by hand")).unwrap();
        assert_eq!(fetched.how, How::Stored, "{algorithm}");
    }
    assert!(matches!(add(&bench.directory(), &bench.store, &bench.cancel, &|_| {}), Err(FetchError::Kind { .. })));
}

#[test]
fn mirrors_are_tried_in_order() {
    let bench = Bench::new();
    let content = noise(1000);
    let near = Server::files(&[("/gnu/wrong", b"wrong")]);
    let upstream = Server::files(&[("/pub/a", &content), ("/pub/wrong", &content)]);
    let own = Server::files(&[("/mirror/b", &content)]);
    bench.store.add_mirror(&upstream.url("/pub/"), &near.url("/gnu/")).unwrap();
    let mirrors = format!("mirrors = [\"{}\"]", own.url("/mirror/"));
    let fetch = |bench: &Bench, name: &str, salt: &str| {
        bench.fetch(&format!(
            "[source]\narchive = \"{}\"\nchecksum = \"{salt}\"\n{mirrors}",
            upstream.url(&format!("/pub/{name}"))
        ))
    };
    let origin = |bench: &Bench, name| fetch(bench, name, &sha256(&content)).unwrap().remove(0).origin;
    assert_eq!(origin(&bench, "a"), upstream.url("/pub/a"));
    assert_eq!(near.requests().len(), 1, "the configured mirror was asked first");
    let second = Bench::new();
    second.store.add_mirror(&upstream.url("/pub/"), &near.url("/gnu/")).unwrap();
    assert_eq!(origin(&second, "b"), own.url("/mirror/b"));
    // A mirror with other bytes is passed over, and said.
    let third = Bench::new();
    third.store.add_mirror(&upstream.url("/pub/"), &near.url("/gnu/")).unwrap();
    assert_eq!(origin(&third, "wrong"), upstream.url("/pub/wrong"));
    let said = third
        .events()
        .iter()
        .any(|event| matches!(event, Event::PlaceFailed { reason, .. } if reason.contains("does not match")));
    assert!(said);
    // When nobody has the right ones, that is the error.
    let error = fetch(&Bench::new(), "wrong", &sha256(b"nobody's")).unwrap_err();
    assert!(matches!(error, FetchError::Mismatch { .. }), "{error:?}");
}

#[test]
fn a_local_directory_can_be_a_mirror() {
    let mut bench = Bench::new();
    bench.options.offline = true;
    let mirror = bench.place.path().join("mirror");
    std::fs::create_dir(&mirror).unwrap();
    std::fs::write(mirror.join("a.tar"), b"a").unwrap();
    bench.store.add_mirror("ftp://upstream.invalid/pub/", &format!("file://{}/", mirror.display())).unwrap();
    let fetched = bench.archive("ftp://upstream.invalid/pub/a.tar", &sha256(b"a")).unwrap();
    assert_eq!((fetched.how, bench.content(&fetched)), (How::Local, b"a".to_vec()));
    let error = bench.archive("ftp://other.invalid/b.tar", &sha256(b"b")).unwrap_err();
    assert!(matches!(error, FetchError::Scheme { .. }), "{error:?}");
}

#[test]
fn a_new_place_for_a_known_checksum_is_looked_at() {
    let bench = Bench::new();
    let content = noise(1000);
    let served = content.clone();
    let server = Server::new(move |request, _, stream| match request.path.as_str() {
        "/hello-1.0.tar" | "/moved/hello-1.0.tar" => send_file(request, &served, "\"v\"", usize::MAX, stream),
        "/hello-1.1.tar" => send(stream, "200 OK", &[], b"the next release"),
        _ => send(stream, "404 Not Found", &[], b""),
    });
    let claim = sha256(&content);
    bench.archive(&server.url("/hello-1.0.tar"), &claim).unwrap();
    // The version was raised and the checksum forgotten: the old bytes must not pass for the new release.
    for _ in 0..2 {
        let error = bench.archive(&server.url("/hello-1.1.tar"), &claim).unwrap_err();
        assert!(matches!(error, FetchError::Mismatch { .. }), "{error:?}");
    }
    assert!(!is_known_from(&server.url("/hello-1.1.tar"), &[claim.parse().unwrap()], &bench.store).unwrap());
    // Upstream moved: looked at once, known from then on, and the first place still is.
    assert_eq!(bench.archive(&server.url("/moved/hello-1.0.tar"), &claim).unwrap().how, How::Network);
    let before = server.requests().len();
    for path in ["/moved/hello-1.0.tar", "/hello-1.0.tar"] {
        assert_eq!(bench.archive(&server.url(path), &claim).unwrap().how, How::Stored);
        assert!(is_known_from(&server.url(path), &[claim.parse().unwrap()], &bench.store).unwrap());
    }
    assert_eq!(server.requests().len(), before);
    // Nobody can look: the bytes are what the checksum names, and that nobody looked is said each time.
    bench.events();
    for _ in 0..2 {
        let unchecked = bench.archive(&server.url("/gone.tar"), &claim).unwrap();
        assert_eq!(unchecked.how, How::Stored);
        let events = bench.events();
        assert!(events.iter().any(|event| matches!(event, Event::Unchecked { known_origin, .. } if *known_origin == server.url("/hello-1.0.tar") || *known_origin == server.url("/moved/hello-1.0.tar"))));
    }
}

#[test]
fn refetching_compares_with_the_place() {
    let mut bench = Bench::new();
    let content = noise(1000);
    let served = content.clone();
    let server = Server::new(move |_, number, stream| {
        send(stream, "200 OK", &[], if number < 2 { &served } else { b"re-released" });
    });
    let claim = sha256(&content);
    bench.archive(&server.url("/a"), &claim).unwrap();
    bench.options.refetch = true;
    assert_eq!(bench.archive(&server.url("/a"), &claim).unwrap().how, How::Network);
    assert!(matches!(bench.archive(&server.url("/a"), &claim), Err(FetchError::Mismatch { .. })));
    bench.options.refetch = false;
    assert_eq!(bench.archive(&server.url("/a"), &claim).unwrap().how, How::Stored, "what is in the store stays");
}

#[test]
fn all_sources_come_in_the_recipes_order() {
    let bench = Bench::new();
    let server = Server::files(&[("/main.tar", b"main"), ("/more.tar", b"more"), ("/far.patch", b"far")]);
    bench.write("near.patch", b"near");
    let fetched = bench
        .fetch(&format!(
            "[source]\narchive = \"{0}/main.tar\"\nchecksum = \"{1}\"\n\n[[source.additional]]\nurl = \"{0}/more.tar\"\nchecksum = \"{2}\"\n\n\
             [[patches.files]]\nfile = \"near.patch\"\n\n[[patches.files]]\nfile = \"{0}/far.patch\"\nchecksum = \"{3}\"\n",
            server.url(""),
            sha256(b"main"),
            sha256(b"more"),
            sha256(b"far")
        ))
        .unwrap();
    let list: Vec<(Which, Vec<u8>)> = fetched.iter().map(|one| (one.which, bench.content(one))).collect();
    let expected = [
        (Which::Main, &b"main"[..]),
        (Which::Additional(0), b"more"),
        (Which::Patch(0), b"near"),
        (Which::Patch(1), b"far"),
    ];
    assert_eq!(list, expected.map(|(which, content)| (which, content.to_vec())));
    // An edited patch is another content at once.
    bench.write("near.patch", b"NEAR");
    let again = bench.fetch("[[patches.files]]\nfile = \"near.patch\"").unwrap();
    assert_eq!(bench.content(&again[0]), b"NEAR");
}

#[test]
fn an_architecture_has_its_own_source() {
    let bench = Bench::new();
    bench.write("x86.tar", b"x86");
    let text = format!("[source.arch.x86_64]\narchive = \"x86.tar\"\nchecksum = \"{}\"\n", sha256(b"x86"));
    assert_eq!(bench.content(&bench.fetch(&text).unwrap()[0]), b"x86");
}
