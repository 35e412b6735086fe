// kitchen/src/fetch/tests/repositories.rs
//! Commits from real repositories: on the disk, behind `git daemon`, and behind `git http-backend`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use super::server::{Server, send};
use super::*;

/// A bench with patience: every answer takes a few processes.
pub(super) fn patient() -> Bench {
    let mut bench = Bench::new();
    bench.options.stall_timeout = Duration::from_mins(1);
    bench
}

pub(super) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.org",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_DATE", "1600000000 +0200")
        .env("GIT_COMMITTER_DATE", "1600000001 +0200")
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A directory of repositories, of which `hello` has three commits and the tag `v2` on the second.
pub(super) struct Repositories {
    place: tempfile::TempDir,
    pub(super) commits: Vec<String>,
}

impl Repositories {
    pub(super) fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let hello = place.path().join("hello");
        std::fs::create_dir_all(hello.join("src")).unwrap();
        git(&hello, &["init", "-q"]);
        std::fs::write(hello.join("src/hello.c"), "one\n").unwrap();
        std::fs::write(hello.join("configure"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(hello.join("configure"), std::os::unix::fs::PermissionsExt::from_mode(0o775)).unwrap();
        std::os::unix::fs::symlink("src/hello.c", hello.join("link")).unwrap();
        let mut commits = Vec::new();
        for text in ["one", "two", "three"] {
            std::fs::write(hello.join("src/hello.c"), format!("{text}\n")).unwrap();
            git(&hello, &["add", "."]);
            git(&hello, &["commit", "-qm", text]);
            commits.push(git(&hello, &["rev-parse", "HEAD"]));
        }
        git(&hello, &["tag", "-am", "second", "v2", &commits[1]]);
        git(&hello, &["tag", "light", &commits[1]]);
        Self { place, commits }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Serves the directory with the program that git servers run. The server may be kept from speaking version 2.
    pub(super) fn over_http(&self, version_two: bool) -> Server {
        let root = self.place.path().to_owned();
        Server::new(move |request, _, stream| backend(&root, request, version_two, stream))
    }
}

/// Runs `git http-backend` for one request.
fn backend(root: &Path, request: &super::server::Request, version_two: bool, stream: &mut TcpStream) {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    if let Some(protocol) = request.header("git-protocol").filter(|_| version_two) {
        command.env("GIT_PROTOCOL", protocol);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut status = "200 OK".to_owned();
    let mut headers = Vec::new();
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Status", value)) => status = value.to_owned(),
            Some((name, value)) => headers.push((name, value)),
            None => {}
        }
    }
    send(stream, &status, &headers, &answer[end + 4..]);
}

/// `git daemon` on a port of its own.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn new(root: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("git")
            .args(["-c", "safe.directory=*", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", root.display()))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `git daemon` is a child of `git`, in a process group of their own.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn source(url: &str, commit: &str, more: &str) -> String {
    format!("[source]\ngit = \"{url}\"\ncommit = \"{commit}\"\n{more}\n")
}

const TREE_OF_TWO: [&str; 4] = ["configure 755 #!/bin/sh", "link -> src/hello.c", "src/", "src/hello.c 644 two"];

fn check_two(bench: &Bench, url: &str, commit: &str, how: How) {
    let fetched = bench.fetch(&source(url, commit, "")).unwrap_or_else(|error| panic!("{url}: {error:?}")).remove(0);
    assert_eq!(bench.tree(&fetched), TREE_OF_TWO, "{url}");
    assert_eq!((fetched.how, fetched.commit_secs, &*fetched.file_name), (how, Some(1_600_000_001), "hello"), "{url}");
}

#[test]
fn a_commit_comes_from_every_kind_of_place_as_one_tree() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let commit = &repositories.commits[1];
    let path = repositories.path("hello").display().to_string();
    git(repositories.place.path(), &["clone", "-q", "--bare", "hello", "hello.git"]);
    git(&repositories.path("hello.git"), &["gc", "-q"]);
    git(&repositories.path("hello"), &["worktree", "add", "-q", "../linked/hello", commit]);
    let bare = repositories.path("hello.git").display().to_string();
    let linked = repositories.path("linked/hello").display().to_string();
    for url in [&path, &format!("file://{path}"), &bare, &linked] {
        check_two(&patient(), url, commit, How::Local);
    }
    let two = repositories.over_http(true);
    let zero = repositories.over_http(false);
    let daemon = Daemon::new(repositories.place.path());
    for url in [
        two.url("/hello"),
        zero.url("/hello"),
        two.url("/hello.git/"),
        format!("git://127.0.0.1:{}/hello", daemon.port),
    ] {
        let bench = patient();
        check_two(&bench, &url, commit, How::Network);
        let network = two.requests().len() + zero.requests().len();
        check_two(&bench, &url, commit, How::Stored);
        assert_eq!(two.requests().len() + zero.requests().len(), network, "what is in the store is not asked for");
    }
    // Version 2 gives the one commit alone; a server of version 0 that gives only what references name, gives all.
    let shallow = |server: &Server| {
        server.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains("deepen 1"))
    };
    assert!(shallow(&two));
    assert!(shallow(&zero), "a commit that a reference names comes alone");
    let old = repositories.over_http(false);
    assert!(patient().fetch(&source(&old.url("/hello"), &repositories.commits[0], "")).is_ok());
    assert!(!shallow(&old));
    // Named by a tag object alone.
    git(&repositories.path("hello"), &["tag", "-d", "light"]);
    git(&repositories.path("hello"), &["worktree", "remove", "-f", "../linked/hello"]);
    let tagged = repositories.over_http(false);
    check_two(&patient(), &tagged.url("/hello"), commit, How::Network);
    assert!(shallow(&tagged));
}

#[test]
fn a_tag_must_be_the_commit() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let path = repositories.path("hello").display().to_string();
    let (two, zero) = (repositories.over_http(true), repositories.over_http(false));
    for url in [path.clone(), two.url("/hello"), zero.url("/hello")] {
        let fetch = |commit: usize, tag: &str| {
            patient().fetch(&source(&url, &repositories.commits[commit], &format!("tag = \"{tag}\"")))
        };
        assert!(fetch(1, "v2").is_ok(), "an annotated tag, {url}");
        assert!(fetch(1, "light").is_ok(), "a light tag, {url}");
        let moved = fetch(2, "v2").unwrap_err();
        assert!(
            matches!(&moved, FetchError::Git { source, .. } if matches!(**source, GitError::TagMoved { .. })),
            "{moved:?}"
        );
        assert!(moved.hint().unwrap().contains("moves"));
        let missing = fetch(1, "v9").unwrap_err();
        assert!(
            matches!(&missing, FetchError::Git { source, .. } if matches!(**source, GitError::NoTag { .. })),
            "{missing:?}"
        );
    }
    // A tag that is asked for later is looked at then, and packed references count.
    git(&repositories.path("hello"), &["pack-refs", "--all"]);
    let bench = patient();
    bench.fetch(&source(&path, &repositories.commits[2], "")).unwrap();
    assert!(bench.fetch(&source(&path, &repositories.commits[2], "tag = \"v2\"")).is_err());
    assert!(bench.fetch(&source(&path, &repositories.commits[1], "tag = \"v2\"")).is_ok());
}

#[test]
fn what_is_not_there_is_named() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let (two, zero) = (repositories.over_http(true), repositories.over_http(false));
    let daemon = Daemon::new(repositories.place.path());
    let nobody = "0123456789012345678901234567890123456789";
    for url in [
        repositories.path("hello").display().to_string(),
        two.url("/hello"),
        zero.url("/hello"),
        format!("git://127.0.0.1:{}/hello", daemon.port),
    ] {
        let error = patient().fetch(&source(&url, nobody, "")).unwrap_err();
        assert!(
            matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::NotFound { .. })),
            "{url}: {error:?}"
        );
    }
    for url in [
        repositories.path("none").display().to_string(),
        two.url("/none"),
        format!("git://127.0.0.1:{}/none", daemon.port),
        "git://127.0.0.1:1/none".to_owned(),
    ] {
        let error = patient().fetch(&source(&url, nobody, "")).unwrap_err();
        assert!(matches!(error, FetchError::Git { .. }), "{url}: {error:?}");
    }
    let page = Server::new(|_, _, stream| send(stream, "200 OK", &[], b"<html>welcome</html>"));
    let error = patient().fetch(&source(&page.url("/hello"), nobody, "")).unwrap_err();
    assert!(matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::Protocol(_))), "{error:?}");
    let mut offline = patient();
    offline.options.offline = true;
    let error = offline.fetch(&source(&two.url("/hello"), &repositories.commits[0], "")).unwrap_err();
    assert!(matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::Offline)), "{error:?}");
    assert!(
        offline.fetch(&source(&repositories.path("hello").display().to_string(), &repositories.commits[0], "")).is_ok()
    );
}

#[test]
fn submodules_come_as_the_tree_names_them() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let outer = repositories.path("outer");
    std::fs::create_dir(&outer).unwrap();
    git(&outer, &["init", "-q"]);
    git(&outer, &["submodule", "--quiet", "add", "../hello", "lib/hello"]);
    git(&outer.join("lib/hello"), &["checkout", "-q", &repositories.commits[1]]);
    git(&outer, &["add", "."]);
    git(&outer, &["commit", "-qm", "outer"]);
    let top = repositories.path("top");
    std::fs::create_dir(&top).unwrap();
    git(&top, &["init", "-q"]);
    git(&top, &["submodule", "--quiet", "add", "../outer", "o"]);
    git(&top, &["commit", "-qm", "top"]);
    let commit = git(&top, &["rev-parse", "HEAD"]);
    let server = repositories.over_http(true);
    for url in [top.display().to_string(), server.url("/top")] {
        let bench = patient();
        let with = bench.fetch(&source(&url, &commit, "submodules = true")).unwrap().remove(0);
        let lines = bench.tree(&with);
        assert!(lines.iter().any(|line| line == "o/lib/hello/src/hello.c 644 two"), "{lines:?}");
        let without = bench.fetch(&source(&url, &commit, "")).unwrap().remove(0);
        let lines = bench.tree(&without);
        assert_eq!(lines[1], "o/", "{lines:?}");
        assert_eq!(lines.len(), 2, "an empty directory, as in a plain clone");
    }
    // A repository from elsewhere may not name paths of this machine.
    let spy = repositories.path("spy");
    std::fs::create_dir(&spy).unwrap();
    git(&spy, &["init", "-q"]);
    git(&spy, &["submodule", "--quiet", "add", &format!("file://{}", repositories.path("hello").display()), "x"]);
    git(&spy, &["commit", "-qm", "spy"]);
    let commit = git(&spy, &["rev-parse", "HEAD"]);
    let error = patient().fetch(&source(&server.url("/spy"), &commit, "submodules = true")).unwrap_err();
    assert!(
        matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::Submodule { .. })),
        "{error:?}"
    );
    assert!(patient().fetch(&source(&spy.display().to_string(), &commit, "submodules = true")).is_ok());
}

#[test]
fn trees_that_no_honest_git_makes_are_refused() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let hello = repositories.path("hello");
    let repository = git2::Repository::open(&hello).unwrap();
    let objects = repository.odb().unwrap();
    let store = |kind: &str, content: &[u8]| {
        objects.write(git2::ObjectType::from_str(kind).unwrap(), content).unwrap().to_string()
    };
    let blob = store("blob", b"owned");
    let raw =
        |hex: &str| (0..20).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect::<Vec<u8>>();
    let tree = |entries: &[(&str, &str, &str)]| {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            content.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            content.extend(raw(id));
        }
        store("tree", &content)
    };
    let git_config = tree(&[("100644", "config", &blob)]);
    let mut deep = tree(&[("100644", "f", &blob)]);
    let mut wide = deep.clone();
    for _ in 0..200 {
        deep = tree(&[("40000", "d", &deep)]);
    }
    for _ in 0..24 {
        wide = tree(&[("40000", "a", &wide), ("40000", "b", &wide)]);
    }
    let trees = [
        tree(&[("100644", "../up", &blob)]),
        tree(&[("100644", "..", &blob)]),
        tree(&[("40000", ".git", &git_config)]),
        tree(&[("40000", ".GIT", &git_config)]),
        tree(&[("100644", "a/b", &blob)]),
        tree(&[("120000", "x", &blob), ("40000", "x", &git_config)]),
        tree(&[("100644", "twice", &blob), ("100644", "twice", &blob)]),
        tree(&[("040755", "odd", &git_config)]),
        tree(&[("120000", "nul", &store("blob", b"a\0b"))]),
        tree(&[("40000", "blob-as-tree", &blob)]),
        deep,
        wide,
    ];
    for tree in trees {
        let commit =
            store("commit", format!("tree {tree}\nauthor t <t> 1 +0000\ncommitter t <t> 1 +0000\n\nx\n").as_bytes());
        let error = patient().fetch(&source(&hello.display().to_string(), &commit, "")).unwrap_err();
        assert!(matches!(error, FetchError::Git { .. }), "{error:?}");
    }
    for commit in ["author t <t> 1 +0000\n\nno tree\n".to_owned(), format!("tree {git_config}\n\nno committer\n")] {
        let commit = store("commit", commit.as_bytes());
        assert!(patient().fetch(&source(&hello.display().to_string(), &commit, "")).is_err());
    }
    assert!(patient().fetch(&source(&hello.display().to_string(), &blob, "")).is_err(), "a file is no commit");
}

#[test]
fn a_server_that_lies_or_breaks_is_survived() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let root = repositories.place.path().to_owned();
    let commit = repositories.commits[1].clone();
    // The other commit's pack under this one's name; a pack with a turned bit; a pack that ends early.
    type Bend = fn(&mut Vec<u8>);
    let bends: [Bend; 3] = [
        |answer| {
            let at = answer.len() - 60;
            answer[at] ^= 1;
        },
        |answer| answer.truncate(answer.len() / 2),
        |answer| answer.truncate(3),
    ];
    for bend in bends {
        let root = root.clone();
        let server = Server::new(move |request, _, stream| {
            if request.method == "GET" {
                return backend(&root, request, true, stream);
            }
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut inner = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            backend(&root, request, true, &mut far);
            drop(far);
            let mut answer = Vec::new();
            inner.read_to_end(&mut answer).unwrap();
            let start = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
            let mut body = answer.split_off(start);
            bend(&mut body);
            send(stream, "200 OK", &[("Content-Type", "application/x-git-upload-pack-result")], &body);
        });
        let bench = patient();
        let error = bench.fetch(&source(&server.url("/hello"), &commit, "")).unwrap_err();
        assert!(matches!(error, FetchError::Git { .. }), "{error:?}");
        assert!(bench.store.sources().unwrap().is_empty());
    }
    let other = repositories.commits[0].clone();
    let honest = root.clone();
    let lying = Server::new(move |request, _, stream| {
        let mut request = request.clone();
        request.body = String::from_utf8_lossy(&request.body).replace(&commit, &other).into_bytes();
        backend(&honest, &request, true, stream);
    });
    let error = patient().fetch(&source(&lying.url("/hello"), &repositories.commits[1], "")).unwrap_err();
    assert!(
        matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::NotFound { .. })),
        "{error:?}"
    );
    // One break is forgiven, and a limit is a limit.
    let whole = root.clone();
    let flaky = Server::new(move |request, number, stream| match number {
        0 | 2 => drop(stream.shutdown(std::net::Shutdown::Both)),
        _ => backend(&whole, request, true, stream),
    });
    check_two(&patient(), &flaky.url("/hello"), &repositories.commits[1], How::Network);
    let mut small = patient();
    small.options.max_bytes = 100;
    let server = repositories.over_http(true);
    let error = small.fetch(&source(&server.url("/hello"), &repositories.commits[1], "")).unwrap_err();
    assert!(
        matches!(&error, FetchError::Git { source, .. } if matches!(**source, GitError::TooLarge { .. })),
        "{error:?}"
    );
    assert_eq!(std::fs::read_dir(small.store.directory().join("tmp")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_mirror_serves_for_a_repository_and_ssh_needs_its_program() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    let bench = patient();
    bench.store.add_mirror("https://upstream.invalid/", &format!("{}/", repositories.place.path().display())).unwrap();
    check_two(&bench, "https://upstream.invalid/hello", &repositories.commits[1], How::Local);
    let second = patient();
    let mirrors = format!("mirrors = [\"file://{}\"]", repositories.path("hello").display());
    let fetched =
        second.fetch(&source("git://127.0.0.1:1/hello", &repositories.commits[1], &mirrors)).unwrap().remove(0);
    assert_eq!(second.tree(&fetched), TREE_OF_TWO);
    // Whether ssh is here or not, nobody answers on that port.
    let error = patient().fetch(&source("ssh://127.0.0.1:1/hello", &repositories.commits[1], "")).unwrap_err();
    assert!(matches!(error, FetchError::Git { .. }), "{error:?}");
}

#[test]
fn an_additional_repository_is_named_after_its_url() {
    if !has("git", &["--version"]) {
        return;
    }
    let repositories = Repositories::new();
    git(repositories.place.path(), &["clone", "-q", "--bare", "hello", "extra.git"]);
    let bench = patient();
    let text = format!(
        "[[source.additional]]\ngit = \"{}\"\ncommit = \"{}\"\n",
        repositories.path("extra.git").display(),
        repositories.commits[0]
    );
    let fetched = bench.fetch(&text).unwrap().remove(0);
    assert_eq!((fetched.which, &*fetched.file_name), (Which::Additional(0), "extra"));
}

#[test]
fn references_are_looked_up_while_a_recipe_is_pinned() {
    let bench = patient();
    let repositories = Repositories::new();
    let (two, zero) = (repositories.over_http(true), repositories.over_http(false));
    let local = repositories.path("hello").display().to_string();
    let newest = &repositories.commits[2];
    for url in [&local, &two.url("/hello/.git"), &zero.url("/hello/.git")] {
        let text = format!(
            "[package]\nname = \"a\"\nversion = \"1\"\n[source]\ngit = \"{url}\"\ntag = \"v2\"\n[[source.additional]]\ngit = \"{url}\"\ncommit = \
             \"refs/heads/main\"\nname = \"b\"\n[[source.additional]]\ngit = \"{url}\"\ncommit = \"refs/tags/light\"\n[[source.additional]]\ngit = \
             \"{url}\"\ncommit = \"HEAD\"\n"
        );
        assert!(recipes::parse(&text, "recipe.toml").is_err(), "a reference is no pin");
        let pin = |text: &str| {
            pin(text, "recipe.toml", &bench.directory(), &facts(), &bench.store, &bench.options, &bench.cancel, &|_| {})
        };
        let pinned = pin(&text).unwrap();
        let pins: Vec<&String> = pinned.sources.iter().map(|source| &source.pin).collect();
        assert_eq!(pins, [&repositories.commits[1], newest, &repositories.commits[1], newest], "{url}");
        assert!(pinned.text.contains(&format!("commit = \"{newest}\" # refs/heads/main\n")), "{}", pinned.text);
        assert!(recipes::parse(&pinned.text, "recipe.toml").is_ok(), "{}", pinned.text);
        assert!(pin(&pinned.text).unwrap().sources.is_empty());
        for missing in ["refs/heads/none", "refs/tags/../heads/main"] {
            match pin(&text.replace("refs/heads/main", missing)) {
                Err(PinError::Fetch(FetchError::Git { source, .. })) => {
                    assert!(matches!(*source, git::GitError::NoReference { .. }), "{source}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
