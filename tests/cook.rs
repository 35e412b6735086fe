// tests/cook.rs
//! Cooking: the quick start, fresh results, determinism, interruption, much output.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::recipe::{one_file, plain};
use crate::support::{AT_ONCE, TestEnv, each_identity};

/// The only package file in `dist/`.
fn package(env: &TestEnv) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(env.path("dist")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_quick_start_cooks_and_is_then_fresh() {
    each_identity(|env| {
        env.copy_in("recipes/cookbook/hello", "recipes/cookbook/hello");
        let first = env.cook(["cook", "recipes/cookbook/hello"]).success();
        assert_eq!(first.stdout, "hello=1.0-1\n");
        first.says(&[
            "Unpacked",
            "Built hello-1.0-1",
            "Checked hello-1.0-1",
            "Staged",
            "Plated hello-1.0-1",
            "Cooked hello-1.0-1",
            "log: conary log hello",
        ]);
        let package = package(env);
        let listing = env.run(env.shell(&format!("tar -tf {}", package.display()))).success();
        assert!(listing.stdout.starts_with("manifest.json\n"), "{}", listing.stdout);

        let written = fs::metadata(&package).unwrap().mtime_nsec();
        let second = env.cook(["cook", "hello"]).success();
        assert_eq!(second.stdout, "hello=1.0-1\n");
        second.says(&["Fresh hello-1.0-1"]).never_says("Built").never_says("Cooked");
        assert_eq!(fs::metadata(&package).unwrap().mtime_nsec(), written, "a fresh cook wrote the package again");

        fs::remove_file(&package).unwrap();
        env.cook(["cook", "hello"]).success().says(&["Fresh", "Written"]);
        assert!(package.exists());
        env.cook(["log", "hello"]).success().prints(&["==> make", "==> check", "==> install"]);
    });
}

#[test]
fn the_story_is_told_in_one_shape() {
    let env = TestEnv::ordinary();
    env.write("a/recipe.toml", one_file("a", "/usr/share/a", "one"));
    let told = env.cook(["cook", "a"]).success().snapshot();
    let expected = "exit 0\n--- stdout\na=1.0-1\n--- stderr\n      \
        Staged a-1.0-1 in [TIME] ([TIME] processor time)\n      \
        Plated a-1.0-1: 1 file, 4 B\n     \
        Written dist/a-1.0-1.x86_64.ccs\n      \
        Cooked a-1.0-1 in [TIME], log: conary log a\n";
    assert_eq!(told.replace("aarch64", "x86_64"), expected);
    let fresh = env.cook(["cook", "a"]).success().snapshot();
    assert_eq!(fresh, "exit 0\n--- stdout\na=1.0-1\n--- stderr\n       Fresh a-1.0-1\n");
}

#[test]
fn a_cook_prints_json_when_asked() {
    let env = TestEnv::ordinary();
    env.write("a/recipe.toml", one_file("a", "/usr/share/a", "one"));
    env.write("b/recipe.toml", one_file("b", "/usr/share/b", "two"));
    let json = env.cook(["cook", "a", "b", "--json"]).success().json();
    let cooked = json["cooked"].as_array().unwrap();
    assert_eq!(cooked.len(), 2);
    assert_eq!(cooked[0]["spec"], "a=1.0-1");
    assert_eq!(cooked[1]["fresh"], false);
    assert!(cooked[0]["trove"].as_str().unwrap().starts_with("blake3:"));
    assert!(fs::metadata(cooked[1]["package"].as_str().unwrap()).unwrap().is_file());
    let again = env.cook(["cook", "a", "--json"]).success().json();
    assert_eq!(again["cooked"][0]["fresh"], true);
    assert_eq!(again["cooked"][0]["key"], cooked[0]["key"]);
}

#[test]
fn two_checkouts_at_different_times_give_the_same_bytes() {
    let first = TestEnv::new();
    let second = TestEnv::ordinary();
    for (env, place) in [(&first, "one/checkout"), (&second, "elsewhere")] {
        env.copy_in("recipes/cookbook/hello", &format!("{place}/hello"));
    }
    let touched = second.path("elsewhere/hello/src/hello.c");
    second.run(second.shell(&format!("touch -d 2001-01-01 {}", touched.display()))).success();
    first.cook(["cook", "one/checkout/hello", "--jobs", "1"]).success();
    std::thread::sleep(Duration::from_millis(1100));
    second.cook(["cook", "elsewhere/hello", "--jobs", "3", "--output", "dist"]).success();
    let bytes = [&first, &second].map(|env| fs::read(package(env)).unwrap());
    assert!(bytes[0] == bytes[1], "the packages differ");
}

#[test]
fn a_build_sees_neither_the_network_nor_the_home_nor_the_host() {
    each_identity(|env| {
        let probe = "\
            test \"$(id -u)\" = 1000\n\
            test \"$(ls /sys/class/net 2>/dev/null | tr -d '\\n')\" = \"\" || test \"$(ls /sys/class/net)\" = lo\n\
            ! ls -A /home/* /root/* 2>/dev/null | grep -q .\n\
            ! touch /usr/owned 2>/dev/null\n\
            ! touch /etc/owned 2>/dev/null\n\
            test \"$(ls /proc | grep -c '^[0-9]')\" -lt 8\n\
            test -z \"${SECRET:-}\"\n\
            mkdir -p \"$DESTDIR/usr\"; env | sort > \"$DESTDIR/usr/environment\"";
        env.write("probe/recipe.toml", plain("probe", probe));
        let mut command = env.conary_command(["cook", "probe", "--store"]);
        command.arg(env.store()).env("SECRET", "42");
        env.run(command).success();
    });
}

#[test]
fn an_interrupted_cook_ends_within_a_second_and_loses_nothing() {
    each_identity(|env| {
        env.write(
            "slow/recipe.toml",
            plain("slow", "echo started; sleep 1234.5; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\""),
        );
        for signal in ["INT", "TERM"] {
            let mut command = env.conary_command(["cook", "-v", "slow", "--store"]);
            command.arg(env.store()).stdout(Stdio::null());
            let log = fs::File::create(env.path("story")).unwrap();
            let mut child = command.stderr(log).spawn().unwrap();
            let waited = Instant::now();
            while !fs::read_to_string(env.path("story")).unwrap().contains("started") {
                assert!(
                    waited.elapsed() < Duration::from_mins(1),
                    "{}",
                    fs::read_to_string(env.path("story")).unwrap()
                );
                assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(env.path("story")).unwrap());
                std::thread::sleep(Duration::from_millis(5));
            }
            let asked = Instant::now();
            env.run(env.shell(&format!("kill -{signal} {}", child.id()))).success();
            let code = child.wait().unwrap().code();
            assert!(asked.elapsed() < AT_ONCE, "it took {:?}", asked.elapsed());
            let story = fs::read_to_string(env.path("story")).unwrap();
            assert_eq!(code, Some(130), "{story}");
            assert!(story.contains("error: interrupted"), "{story}");
            assert_eq!(env.listing(&env.store().join("tmp")), [""; 0], "work was left behind");
            let left = env.run(env.shell("ps -eo args | grep '[s]leep 1234.5' || true")).success();
            assert_eq!(left.stdout, "", "a step survived");
            assert!(!env.path("dist").exists() || env.listing(&env.path("dist")).is_empty());
        }
        env.write("slow/recipe.toml", one_file("slow", "/usr/share/slow", "quick now"));
        env.cook(["cook", "slow"]).success();
    });
}

#[test]
fn two_hundred_megabytes_of_output_neither_block_nor_fill_memory() {
    let env = TestEnv::ordinary();
    let loud =
        "head -c 200000000 /dev/zero | tr '\\0' x | fold -w 100; mkdir -p \"$DESTDIR/usr\"; touch \"$DESTDIR/usr/x\"";
    env.write("loud/recipe.toml", plain("loud", loud));
    let script = format!("conary cook loud --store {} & wait $!; grep -q . /dev/null || true", env.store().display());
    let mut command = env.shell(&script);
    command.env("TERM", "dumb");
    env.run(command).success();
    let log = env.run(env.shell(&format!("conary log loud --store {} | wc -c", env.store().display()))).success();
    let bytes: u64 = log.stdout.trim().parse().unwrap();
    assert!(bytes > 200_000_000, "the log has {bytes} bytes");
}

#[test]
fn a_cook_that_does_nothing_is_small_and_quick() {
    let env = TestEnv::ordinary();
    if env.run(env.shell("strace -V")).code != 0 {
        return crate::support::skip("no strace");
    }
    env.copy_in("recipes/cookbook/hello", "hello");
    env.cook(["cook", "hello"]).success();
    let traced = env.run(env.shell(&format!(
        "strace -f -o trace conary cook hello --store {}; grep -c . trace; grep -cE 'clone3?\\(' trace || true; grep -cE 'socket\\(AF_INET' trace || true",
        env.store().display()
    )));
    let traced = traced.success();
    let counts: Vec<u64> = traced.stdout.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(counts[0] < 900, "a fresh cook made {} system calls", counts[0]);
    assert!(counts[1] <= 1, "a fresh cook started {} threads or processes", counts[1]);
    assert_eq!(counts[2], 0, "a fresh cook touched the network");
}

#[test]
fn following_a_log_ends_with_its_build_however_that_ends() {
    let env = TestEnv::ordinary();
    env.write("x/recipe.toml", plain("x", "echo it has begun; sleep 60"));
    let mut child =
        env.conary_command(["cook", "x", "--store"]).arg(env.store()).stderr(Stdio::null()).spawn().unwrap();
    let logs = env.store().join("logs");
    let begun =
        format!("for i in $(seq 1200); do grep -qs begun {}/x-* && exit 0; sleep 0.05; done; exit 1", logs.display());
    env.run(env.shell(&begun)).success();
    env.run(env.shell(&format!("kill -KILL {}", child.id()))).success();
    child.wait().unwrap();
    env.cook(["log", "-f", "x"]).success().prints(&["it has begun"]).says(&["killed"]);
    env.write("x/recipe.toml", plain("x", "echo it has ended; mkdir -p $DESTDIR/etc; echo > $DESTDIR/etc/x"));
    env.cook(["cook", "x"]).success();
    env.cook(["log", "-f", "x"]).success().prints(&["it has ended"]).never_says("killed");
}
