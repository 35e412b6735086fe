// tests/packages.rs
//! Package files through the command line: compared, taken apart, signed, and what a policy makes of signatures.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::recipe::plain;
use crate::support::server::{Manner, Server};
use crate::support::{TestEnv, each_identity};

const TWO: &str = "mkdir -p \"$DESTDIR/usr/bin\" \"$DESTDIR/usr/share/two\"\n\
                   printf '#!/bin/sh\\necho two\\n' > \"$DESTDIR/usr/bin/two\"\n\
                   chmod 755 \"$DESTDIR/usr/bin/two\"\n\
                   ln -s two \"$DESTDIR/usr/bin/deux\"\n\
                   printf 'text\\n' > \"$DESTDIR/usr/share/two/text\"";

/// Cooks a recipe and puts its package beside the others under a name of its own.
fn cooked(env: &TestEnv, file: &str, install: &str) -> PathBuf {
    env.write("two/recipe.toml", plain("two", install));
    let json = env.cook(["cook", "two", "--json"]).success().json();
    let kept = env.work().join(file);
    fs::copy(json["cooked"][0]["package"].as_str().unwrap(), &kept).unwrap();
    env.give();
    kept
}

fn newest(directory: &Path) -> PathBuf {
    let packages = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    packages.max_by_key(|path| path.metadata().unwrap().modified().unwrap()).unwrap()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn a_difference_is_named_with_its_place() {
    let env = TestEnv::ordinary();
    let one = text(&cooked(&env, "one.ccs", TWO));
    let changed =
        TWO.replace("echo two", "echo TWO").replace("ln -s two", "ln -s ./two").replace("share/two", "share/zwei");
    let other = text(&cooked(&env, "other.ccs", &changed));
    env.conary(["ccs", "diff", &one, &one]).success();
    env.conary(["ccs", "diff", &one, &other]).exits(1).prints(&[
        "usr/bin/two (runtime): content: 19 bytes, 74 at byte 15 | 19 bytes, 54 at byte 15",
        "usr/bin/deux (runtime): kind: link to two | link to ./two",
        "there | not there",
        "not there | there",
    ]);
    let json = env.conary(["ccs", "diff", &one, &other, "--json"]).exits(1).json();
    assert_eq!(json["same"], false);
    env.conary(["ccs", "diff", &one, "no-such.ccs"]).exits(10);
}

#[test]
fn a_package_is_taken_apart_without_a_root() {
    each_identity(|env| {
        let package = text(&cooked(env, "two.ccs", TWO));
        env.conary(["ccs", "extract", &package, "out"]).success().says(&["Extracted"]);
        let out = env.work().join("out");
        assert_eq!(fs::read_to_string(out.join("usr/bin/two")).unwrap(), "#!/bin/sh\necho two\n");
        assert_eq!(fs::metadata(out.join("usr/bin/two")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(out.join("usr/bin/deux")).unwrap(), Path::new("two"));
        let left: Vec<_> = fs::read_dir(env.work()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".conary")), "{left:?}");
        env.conary(["ccs", "extract", &package, "out"]).exits(2).says(&["is there already"]);
        env.conary(["ccs", "extract", &package, "some", "--component", "none"]).exits(10).says(&["it has"]);
    });
}

#[test]
fn names_in_a_package_do_not_speak_to_the_terminal() {
    let env = TestEnv::ordinary();
    let names = "mkdir -p \"$DESTDIR/usr\"; cd \"$DESTDIR/usr\"; touch -- \"$(printf 'a\\nb\\033[2Jc')\" -rf";
    let strange = text(&cooked(&env, "strange.ccs", names));
    let plain = text(&cooked(&env, "plain.ccs", TWO));
    for arguments in [
        &["ccs", "list", &strange][..],
        &["ccs", "inspect", &strange],
        &["ccs", "verify", &strange, "-v"],
        &["ccs", "diff", &strange, &plain],
        &["ccs", "diff", &plain, &strange],
        &["ccs", "extract", &strange, "out", "-v"],
        &["install", "--dry-run", "--root", "root", &strange],
    ] {
        let run = env.conary(arguments);
        let said = run.stdout + &run.stderr;
        assert!(!said.contains('\u{1b}') && !said.contains("\nb"), "{arguments:?}: {said:?}");
    }
    assert!(env.work().join("out/usr/-rf").exists());
}

#[test]
fn holes_come_out_as_holes() {
    each_identity(|env| {
        // Two holes with something between, in a file that goes through memory and in one that does not.
        let script = "mkdir -p \"$DESTDIR/srv\"\n\
                      for size in 2 64; do\n\
                      truncate -s ${size}M \"$DESTDIR/srv/$size\"\n\
                      echo middle | dd of=\"$DESTDIR/srv/$size\" bs=1M seek=1 conv=notrunc status=none\n\
                      done";
        let package = text(&cooked(env, "two.ccs", script));
        assert!(fs::metadata(&package).unwrap().len() < 64 << 10);
        env.conary(["ccs", "extract", &package, "out"]).success();
        env.root_command(["install", "--yes", &package]).success();
        env.root_command(["verify"]).success();
        for top in [env.work().join("out"), env.root()] {
            for megabytes in [2_u64, 64] {
                let file = top.join(format!("srv/{megabytes}"));
                let content = fs::read(&file).unwrap();
                assert_eq!(content.len() as u64, megabytes << 20);
                assert_eq!(&content[1 << 20..][..8], b"middle\n\0");
                let room = fs::metadata(&file).unwrap().blocks() * 512;
                assert!(room <= 256 << 10, "{}: {room} bytes", file.display());
            }
        }
    });
}

#[test]
fn a_policy_asks_for_signatures() {
    each_identity(|env| {
        let package = text(&cooked(env, "two.ccs", TWO));
        let root = text(&env.root());
        let trust = |arguments: &[&str]| env.conary([&["trust"], arguments, &["--root", &root]].concat());
        let install = || env.root_command(["install", "--yes", &package]);
        env.conary(["ccs", "keygen", "builder"]).success().prints(&["ed25519:"]);
        env.conary(["ccs", "keygen", "second"]).success();
        env.conary(["ccs", "keygen", "builder"]).exits(2).says(&["never overwritten"]);
        let secret = env.work().join("builder.key");
        assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o7777, 0o600);

        trust(&["policy"]).exits(10);
        trust(&["policy", "signed"]).success().says(&["nothing can be installed"]);
        install().exits(8).says(&["is signed by 0 of the trusted keys and must be by 1", "conary ccs sign"]);
        trust(&["add", "builder", "builder.key"]).exits(2).says(&["secret key"]);
        trust(&["add", "builder", "builder.pub"]).success();
        trust(&["list"]).success().prints(&["builder", "ed25519:"]);

        let unsigned = fs::read(&package).unwrap();
        env.conary(["ccs", "sign", "--key", "second.key", &package]).success();
        install().exits(8).says(&["it is signed by ed25519:"]);
        env.conary(["ccs", "sign", "--key", "builder.key", &package]).success();
        env.conary(["ccs", "verify", &package]).success().says(&["2 signatures"]);
        env.conary(["ccs", "inspect", &package]).success().prints(&["signed by"]);

        // One changed byte of a trusted key's signature is a refusal, whatever the policy.
        let signed = fs::read(&package).unwrap();
        let at = signed.windows(8).position(|window| window == b"CCSSIGNS").unwrap();
        let key = fs::read_to_string(env.work().join("builder.pub")).unwrap();
        let digits = key.trim_end().rsplit(':').next().unwrap();
        let first = u8::from_str_radix(&digits[..2], 16).unwrap();
        let row = if signed[at + 16] == first { at + 16 } else { at + 112 };
        let mut forged = signed.clone();
        forged[row + 40] ^= 1;
        fs::write(&package, &forged).unwrap();
        install().exits(8).says(&["is not valid"]);
        env.conary(["ccs", "verify", &package]).exits(7).says(&["is not valid"]);
        trust(&["policy", "unsigned"]).success();
        install().exits(8).says(&["is not valid"]);
        fs::write(&package, &signed).unwrap();

        trust(&["policy", "2"]).success();
        let keys = trust(&["list", "--json"]).success().json()["keys"].as_array().unwrap().len();
        trust(&["policy", &format!("2-of-{}", keys + 1)]).exits(2).says(&["speaks of"]);
        for nonsense in ["2-of-", "-of-2", "signed-of-2", "0-of-2", "2-of-x"] {
            trust(&["policy", nonsense]).exits(2);
        }
        trust(&["policy", &format!("2-of-{keys}")]).success();
        trust(&["policy"]).success().prints(&[&format!("2-of-{keys}")]);
        install().exits(8).says(&["by 1 of the trusted keys and must be by 2"]);
        trust(&["add", "second", "second.pub"]).success();
        install().success();
        trust(&["remove", "second"]).success();
        trust(&["remove", "second"]).exits(10);
        env.root_command(["remove", "two", "--yes"]).success();
        // A rollback returns to what was installed under the policy of its day.
        env.root_command(["rollback", "--yes"]).success();
        // What came signed is written signed again, by name and from the store that it came into.
        env.root_command(["remove", "two", "--yes"]).success();
        let own = text(&env.root().join("var/lib/conary"));
        env.conary(["ccs", "export", "two", "--output", "again", "--store", &own]).success();
        let again = newest(&env.work().join("again"));
        assert_eq!(fs::read(again).unwrap(), signed);
        assert_ne!(unsigned, signed);
    });
}

/// The bytes of the parts that a server was asked for.
fn asked(server: &Server, length: usize) -> (usize, usize) {
    let requests = server.requests();
    let bytes = requests.iter().map(|line| match line.rsplit_once(" from ") {
        Some((_, range)) => {
            let (from, to) = range.split_once(" to ").unwrap();
            let from: usize = from.parse().unwrap();
            to.parse::<usize>().unwrap().min(length - 1) + 1 - from
        }
        None => length,
    });
    (requests.len(), bytes.sum())
}

/// A package with 24 MB in files of 52 KB that do not compress, or the one that `CONARY_LARGE_PACKAGE` names.
fn very_large(env: &TestEnv) -> PathBuf {
    if let Some(given) = std::env::var_os("CONARY_LARGE_PACKAGE") {
        let kept = env.work().join("large.ccs");
        fs::copy(given, &kept).unwrap();
        env.give();
        return kept;
    }
    let script = "mkdir -p \"$DESTDIR/srv\"\n\
                  cd \"$DESTDIR/srv\"\n\
                  head -c 24M /dev/urandom | split -b 52000 -a 5 -d - part";
    cooked(env, "large.ccs", script)
}

#[test]
fn two_requests_say_what_a_large_package_is() {
    let env = TestEnv::ordinary();
    let package = very_large(&env);
    let length = usize::try_from(fs::metadata(&package).unwrap().len()).unwrap();
    assert!(length > 24 << 20);
    env.conary(["ccs", "keygen", "builder"]).success();
    for signed in [false, true] {
        if signed {
            env.conary(["ccs", "sign", "--key", "builder.key", "large.ccs"]).success();
        }
        let server = Server::start_file(&package);
        let url = server.url("two-1.0-1.ccs");
        let from_file = env.conary(["ccs", "inspect", "large.ccs", "--json"]).success().json();
        let told = env.conary(["ccs", "inspect", &url, "--json"]).success().json();
        assert_eq!(told, from_file);
        let manifest = told.to_string().len();
        let (requests, travelled) = asked(&server, length);
        println!("{length} bytes, signed {signed}: {requests} requests, {travelled} bytes");
        assert!(requests <= 2 && travelled <= (64 << 10) + manifest, "{requests} requests, {travelled} bytes");

        // A plan needs the list of files as well, and nothing of their content; nor does a question.
        let server = Server::start_file(&package);
        let url = server.url("two-1.0-1.ccs");
        let plan = env.root_command(["install", "--dry-run", "--json", &url]).success().json();
        assert!(usize::try_from(plan["fetch_bytes"].as_u64().unwrap()).unwrap() > length / 100 * 98);
        let (requests, planned) = asked(&server, length);
        println!("plan: {requests} requests, {planned} bytes");
        assert!(requests <= 2 && planned < length / 100, "{requests} requests, {planned} bytes");
        env.root_command(["install", &url]).exits(8).says(&["fetch ", "of content", "no terminal to ask on"]);
        let (requests, asking) = asked(&server, length);
        assert!(requests <= 4 && asking == 2 * planned, "{requests} requests, {asking} bytes");
    }
}

/// A package with three frames of content that does not compress, and the same with one of them changed.
fn large(env: &TestEnv, name: &str, third: &str) -> Vec<u8> {
    let noise = |file: &str, seed: &str| {
        let program = "BEGIN { srand(seed); for (n = 0; n < 600000; n++) printf \"%08d\", rand() * 100000000 }";
        format!("awk -v seed={seed} '{program}' > \"$DESTDIR/{file}\"\n")
    };
    // The step is quoted with three single quotes, which one is not.
    let script = format!("mkdir -p \"$DESTDIR\"\n{}{}{}", noise("a", "1"), noise("b", "2"), noise("c", third));
    fs::read(cooked(env, name, &script)).unwrap()
}

#[test]
fn of_a_package_on_a_server_only_what_is_needed_travels() {
    let env = TestEnv::ordinary();
    let bytes = large(&env, "first.ccs", "3");
    let server = Server::start(bytes.clone(), Manner::Honest);
    let url = server.url("two-1.0-1.ccs");
    let from_file = env.conary(["ccs", "inspect", "first.ccs", "--json"]).success().stdout;
    assert_eq!(env.conary(["ccs", "inspect", &url, "--json"]).success().stdout, from_file);
    let (requests, travelled) = asked(&server, bytes.len());
    assert!(requests <= 2 && travelled <= 64 << 10, "{requests} requests, {travelled} bytes");

    env.root_command(["install", "--yes", &url]).success();
    let (_, whole) = asked(&server, bytes.len());
    assert!(whole <= bytes.len() + (130 << 10), "{whole} of {}", bytes.len());
    let left: Vec<_> = fs::read_dir(env.work().with_file_name("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    // One file of three differs: the others stay where they are.
    let changed = large(&env, "second.ccs", "4");
    let server = Server::start(changed.clone(), Manner::Honest);
    let url = server.url("two-1.0-1.ccs");
    env.root_command(["install", "--dry-run", &url]).success();
    let (_, dry) = asked(&server, changed.len());
    assert!(dry <= 64 << 10, "{dry}");
    env.root_command(["install", "--yes", &url]).success();
    let (_, travelled) = asked(&server, changed.len());
    assert!(travelled < changed.len() / 2, "{travelled} of {}", changed.len());
    env.root_command(["verify"]).success();
    env.conary(["ccs", "verify", &url]).success();
    env.conary(["ccs", "diff", "first.ccs", &url]).exits(1).prints(&["c (runtime): content"]);

    // A server without parts sends the whole file; one that answers something else is named.
    let whole = Server::start(bytes.clone(), Manner::WholeFiles);
    assert_eq!(env.conary(["ccs", "inspect", &whole.url("x.ccs"), "--json"]).success().stdout, from_file);
    env.root_command(["install", "--yes", &whole.url("x.ccs")]).success();
    let none = Server::start(Vec::new(), Manner::Status(404));
    env.root_command(["install", "--yes", &none.url("x.ccs")]).exits(10).says(&["404"]);
    let other = Server::start(b"no package".to_vec(), Manner::Honest);
    env.root_command(["install", "--yes", &other.url("x.ccs")]).exits(7);
}

#[test]
fn a_store_lists_what_it_has() {
    let env = TestEnv::ordinary();
    cooked(&env, "two.ccs", TWO);
    let store = text(&env.store());
    env.conary(["store", "list", "--store", &store]).success().prints(&["two=1.0-1", "runtime"]);
    let json = env.conary(["store", "list", "--store", &store, "--json"]).success().json();
    assert_eq!(json["troves"][0]["spec"], "two=1.0-1");
}

#[test]
fn a_damaged_store_is_mended_from_a_package() {
    each_identity(|env| {
        let package = text(&cooked(env, "two.ccs", TWO));
        let store = text(&env.store());
        let object = env.conary(["ccs", "list", &package, "--json"]).success().json();
        let entries = object["entries"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["path"].as_str().unwrap().ends_with("usr/bin/two")).unwrap();
        let digest = entry["content"].as_str().unwrap().rsplit(':').next().unwrap();
        let file = env.store().join("objects").join(&digest[..2]).join(format!("{}.755", &digest[2..]));
        fs::remove_file(&file).unwrap();
        env.conary(["store", "verify", "--store", &store]).exits(7);
        let mended = ["store", "verify", "--repair", "--from", &package, "--store", &store, "--json"];
        let json = env.conary(mended).success().json();
        assert_eq!((json["rescued"].as_u64(), json["lost"].as_array().map(Vec::len)), (Some(1), Some(0)));
        assert!(file.exists());
        env.conary(["store", "verify", "--store", &store]).success();
        env.conary(["store", "list", "--store", &store]).success().prints(&["two=1.0-1"]);
    });
}

#[test]
fn a_damaged_store_is_mended_from_installed_files() {
    each_identity(|env| {
        let package = text(&cooked(env, "two.ccs", TWO));
        let store = text(&env.store());
        env.root_command(["install", "--yes", &package]).success();
        // The root has files and no store of theirs any more.
        fs::remove_dir_all(env.root().join("var/lib/conary/objects")).unwrap();
        let listed = env.conary(["ccs", "list", &package, "--json"]).success().json();
        let entries = listed["entries"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["path"].as_str().unwrap().ends_with("usr/bin/two")).unwrap();
        let digest = entry["content"].as_str().unwrap().rsplit(':').next().unwrap();
        let file = env.store().join("objects").join(&digest[..2]).join(format!("{}.755", &digest[2..]));
        fs::remove_file(&file).unwrap();
        let root = text(&env.root());
        let repair =
            |store: &str| env.conary(["store", "verify", "--repair", "--from", &root, "--store", store, "--json"]);
        let installed = env.root().join("usr/bin/two");
        let whole = fs::read(&installed).unwrap();
        fs::write(&installed, "edited").unwrap();
        let copy = text(&env.store().with_file_name("copy"));
        assert!(Command::new("cp").args(["-a", &store, &copy]).status().unwrap().success());
        let json = repair(&copy).exits(7).json();
        assert_eq!((json["rescued"].as_u64(), json["lost"].as_array().map(Vec::len)), (Some(0), Some(1)));
        fs::write(&installed, whole).unwrap();
        let json = repair(&store).success().json();
        assert_eq!((json["rescued"].as_u64(), json["lost"].as_array().map(Vec::len)), (Some(1), Some(0)));
        env.conary(["store", "verify", "--store", &store]).success();
    });
}
