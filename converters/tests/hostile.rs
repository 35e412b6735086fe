// converters/tests/hostile.rs
//! PKGBUILDs that mean harm: none of them makes the reader hang, take much memory or run anything, and what only looks like harm is read.
//!
//! Reading is done in the reader's own process, so a file that got something to
//! run would show in what these files try to leave behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use converters::pkgbuild::sandboxed::{self, Place, SandboxedError};
use converters::pkgbuild::{Description, Options, ReadError, read};

const HEAD: &str = "pkgname=x\npkgver=1\npkgrel=1\narch=(any)\n";

/// What comes of a head and more lines.
fn outcome(text: &str) -> Result<String, ReadError> {
    let start = Instant::now();
    let mut options = Options::default();
    // A tenth of what is allowed shows the same, and sooner where tests are not optimized.
    options.budget.steps /= 10;
    options.budget.bytes /= 10;
    let result = read(format!("{HEAD}{text}\n").as_bytes(), None, &options);
    let told: String = text.chars().take(60).collect();
    assert!(start.elapsed() < Duration::from_mins(10), "{told} took {:?}", start.elapsed());
    result.map(|description| String::from_utf8(description.srcinfo()).unwrap())
}

#[test]
fn what_would_take_too_much_is_refused_with_its_line() {
    let deep = |open: &str, inner: &str, close: &str, count: usize| {
        format!("{}{inner}{}", open.repeat(count), close.repeat(count))
    };
    let cases = [
        "while :; do :; done".to_owned(),
        "until false; do true; done".to_owned(),
        "for ((;;)); do x=1; done".to_owned(),
        "f() { f; }; f".to_owned(),
        "f() { g; }; g() { f; }; x=$(f)\npkgdesc=$x".to_owned(),
        "x='eval \"$x\"'; eval \"$x\"".to_owned(),
        "a=xxxxxxxxxxxxxxxx; for i in {1..64}; do a=$a$a; done".to_owned(),
        "a=(1 2 3 4); for i in {1..64}; do a=(\"${a[@]}\" \"${a[@]}\"); done".to_owned(),
        "a=aaaaaaaa; for i in {1..64}; do a=${a//a/aa}; done".to_owned(),
        "depends=({1..1000000000})".to_owned(),
        "depends=({-9223372036854775808..9223372036854775807})".to_owned(),
        format!("depends=({})", "{a,b}".repeat(64)),
        format!("depends=({})", deep("{a,", "b", "}", 500)),
        "printf -v pkgdesc '%999999999d' 1".to_owned(),
        "printf -v pkgdesc '%.999999999d' 1".to_owned(),
        "printf -v pkgdesc '%0999999999x' 1".to_owned(),
        "printf -v pkgdesc '%*s' 999999999 x".to_owned(),
        "printf -v pkgdesc '%99999999999999999999s' x".to_owned(),
        format!("a={}; [[ $a == *a*a*a*a*a*a*a*a*b ]]", "a".repeat(500)),
        format!("a={}; [[ $a == +(+(+(a)))b ]]", "a".repeat(500)),
        format!("a={}; [[ $a =~ ^(((a*)*)*)*b$ ]]", "a".repeat(500)),
        format!("a={}; pkgdesc=${{a%%*a*a*a*a*a*b}}", "a".repeat(500)),
        format!("a={}; pkgdesc=$(sed 's/\\(a*\\)*b/x/' <<< $a)", "a".repeat(500)),
        format!("pkgdesc={}", deep("$(echo ", "x", ")", 5000)),
        format!("pkgdesc={}", deep("${y:-", "x", "}", 5000)),
        format!("pkgdesc={}", deep("\"$(echo ", "x", ")\"", 5000)),
        format!("pkgdesc=$(({}))", deep("(", "1", ")", 10_000)),
        format!("pkgdesc=$(({}1))", "-~!".repeat(10_000)),
        format!("pkgdesc=$(({}1))", "1?1:".repeat(10_000)),
        format!("[[ {} ]]", deep("( ", "a", " )", 10_000)),
        format!("[[ {}a ]]", "! ".repeat(10_000)),
        format!("if {}", "if ".repeat(10_000)),
        deep("{ ", ":; ", "}; ", 10_000),
        deep("(", ":", ")", 10_000),
        deep("case x in x) ", ":", ";; esac", 5_000),
        deep("f() { ", ":; ", "}; ", 5_000),
        format!("test {}1 ", "! ".repeat(10_000)),
        format!("[[ x == {} ]]", deep("@(", "x", ")", 5_000)),
        format!("[[ x =~ {} ]]", deep("(", "x", ")", 5_000)),
    ];
    for text in cases {
        let told: String = text.chars().take(60).collect();
        match outcome(&text) {
            Err(error) => assert!(error.line().is_some_and(|line| line >= 5), "{told}: {error}"),
            Ok(srcinfo) => assert!(srcinfo.len() < 4096, "{told} was read"),
        }
    }
}

#[test]
fn what_only_looks_large_is_read() {
    let long = "word ".repeat(5_000);
    let cases = [
        format!("pkgdesc='{}'", "x".repeat(10_000)),
        format!("license=({long})"),
        format!("_x='{long}'; license=(${{_x// /, }})"),
        format!("# {}", "\"'$({".repeat(10_000)),
        format!("build() {{\n{}}}", "  make -j \"$x\" || true\n".repeat(2_000)),
        format!("_x=({}); pkgdesc=${{_x[-1]}}", "a b c ".repeat(2_000)),
        "_x[999999999999]=1; pkgdesc=\"${#_x[@]}\"".to_owned(),
        "pkgdesc=$((2 ** 62)); pkgdesc+=${pkgver:0:999999999999}".to_owned(),
        ";:".repeat(5_000).trim_start_matches(';').to_owned(),
    ];
    for text in cases {
        let told: String = text.chars().take(60).collect();
        outcome(&text).unwrap_or_else(|error| panic!("{told}: {error}"));
    }
}

#[test]
fn nothing_is_run_to_read_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark");
    let touch = format!("touch {}", mark.display());
    let into = format!("echo x > {}", mark.display());
    let forms = [
        touch.clone(),
        into,
        format!("pkgdesc=$({touch})"),
        format!("pkgdesc=`{touch}`"),
        format!("depends=($({touch}) a)"),
        format!("pkgdesc=${{x:-$({touch})}}"),
        format!("x[$({touch})]=1"),
        format!("x='a[$({touch})]'; (( x ))"),
        format!("x='a[$({touch})]'; [[ $x -eq 1 ]]"),
        format!("declare x=$({touch})"),
        format!("eval '{touch}'"),
        format!("trap '{touch}' EXIT DEBUG"),
        format!("exec bash -c '{touch}'"),
        format!("source <({touch}; echo)"),
        format!("cat <<EOF\n$({touch})\nEOF"),
        format!("read x < <({touch})"),
        format!("coproc {touch}"),
        format!("{touch} &"),
        format!("command {touch}"),
        format!("builtin eval '{touch}'"),
        format!("package() {{ depends=($({touch})); }}"),
        format!("printf -v 'x[$({touch})]' 1"),
        format!("unset 'x[$({touch})]'"),
        format!("[[ -v 'x[$({touch})]' ]]"),
        format!("test -v 'x[$({touch})]'"),
        format!("PROMPT_COMMAND='{touch}' PS4='$({touch})'; set -x; :"),
        format!("f() {{ {touch}; }}; f"),
        format!(": ${{x:=$({touch})}}"),
        format!("mapfile -C '{touch};' -c 1 x <<< y"),
        format!("complete -C '{touch}' x; compgen -C '{touch}'"),
    ];
    for form in forms {
        let _ = outcome(&form);
        assert!(!mark.exists(), "{form} was run");
    }
}

/// What comes of a head and more lines that real bash reads in the sandbox.
fn sandboxed(place: &Path, text: &str) -> Result<Description, SandboxedError> {
    let directory = tempfile::tempdir_in(place).unwrap();
    let whole = format!("{HEAD}{text}\npkgdesc=${{found:-nothing}}\n");
    fs::write(directory.path().join("PKGBUILD"), &whole).unwrap();
    fs::write(directory.path().join("beside"), "here").unwrap();
    let result = sandboxed::read(
        whole.as_bytes(),
        Place::File(&directory.path().join("PKGBUILD")),
        &Options::default(),
        &AtomicBool::new(false),
    );
    assert_eq!(fs::read_to_string(directory.path().join("beside")).unwrap(), "here", "{text}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "{text}");
    result
}

#[test]
fn what_is_run_in_the_sandbox_reaches_nothing() {
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, "a secret").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (path, port) = (secret.display(), listener.local_addr().unwrap().port());
    let harmless = [
        format!("rm -rf {path} /startdir/beside /startdir ./*"),
        "echo changed > beside; touch new; mv beside other; ln -s beside link; chmod 0 beside".to_owned(),
        format!("found=$(cat {path})"),
        "found=$(cat /root/.bashrc /root/.profile /etc/shadow ~/.bashrc \"$HOME\"/.* 2>/dev/null)".to_owned(),
        format!("exec 5<>/dev/tcp/127.0.0.1/{port} && found=connected"),
        format!("found=$(timeout 3 bash -c 'exec 5<>/dev/tcp/127.0.0.1/{port} && echo connected')"),
        "mount -t tmpfs none /mnt && found=mounted; chroot / true && found=root".to_owned(),
        "kill -9 1 $PPID; kill -9 -1 2>/dev/null; true".to_owned(),
        "(setsid sleep 1000 &); sleep 1000 & disown -a".to_owned(),
        "yes > /tmp/full; true".to_owned(),
    ];
    for text in harmless {
        match sandboxed(place.path(), &text) {
            Ok(description) => assert_eq!(description.base.value("pkgdesc"), Some("nothing"), "{text}"),
            Err(SandboxedError::Ended { .. }) => {}
            Err(error) => panic!("{text}: {error}"),
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "a secret", "{text}");
    }
    assert!(listener.accept().is_err(), "a PKGBUILD connected");
}

#[test]
fn what_is_printed_while_a_file_is_read_is_no_answer() {
    let place = tempfile::tempdir().unwrap();
    let noisy = [
        "echo hello; printf 'pkgver=666\\n# the end\\n'; echo error >&2",
        "echo pkgver=666 >&7",
        "for fd in {3..30}; do { echo; echo pkgver=666; echo '# the end'; } >&$fd; done 2>/dev/null",
        "echo() { pkgver=666; }; declare() { pkgver=666; }; printf() { pkgver=666; }; builtin() { :; }",
    ];
    for text in noisy {
        match sandboxed(place.path(), text) {
            // What it says of itself is its own affair; that it is read to its end is ours.
            Ok(description) => assert_eq!(description.base.name, "x", "{text}"),
            Err(SandboxedError::Ended { .. } | SandboxedError::Read(_)) => {}
            Err(error) => panic!("{text}: {error}"),
        }
    }
    let banner = sandboxed(place.path(), noisy[0]).unwrap();
    assert_eq!(banner.base.value("pkgver"), Some("1"));
}

#[test]
fn what_does_not_end_in_the_sandbox_is_ended() {
    let place = tempfile::tempdir().unwrap();
    let endless = [
        "while :; do :; done",
        "while echo x; do :; done",
        "yes; yes >&2",
        "kill -STOP $$",
        "exec sleep 1000",
        "read x < <(sleep 1000)",
        "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done",
        "f() { f | f & f; }; f; while :; do :; done",
        "for fd in {3..30}; do yes pkgver=666 >&$fd; done; while :; do :; done",
        "trap '' TERM INT HUP XCPU; while :; do :; done",
    ];
    // Each takes as long as a PKGBUILD may; together they take little longer.
    std::thread::scope(|scope| {
        for text in endless {
            let place = place.path();
            scope.spawn(move || {
                let result = sandboxed(place, text);
                assert!(matches!(result, Err(SandboxedError::Ended { .. })), "{text}: {result:?}");
            });
        }
    });
}
