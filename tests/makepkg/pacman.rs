// tests/makepkg/pacman.rs
//! `install=` files: what the real pacman does with one in a root of its own, and what Conary does with what it became.
//!
//! pacman runs the functions with the real useradd, groupadd and systemctl, in a chroot; Conary has declarations instead. Accounts, units, directories
//! and files are compared after an installation, an upgrade and a removal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{EPOCH, has_makepkg};
use crate::support::{TestEnv, is_root, note};

/// A daemon whose script has what such scripts have.
const DAEMON: &str = r#"
cat > svcd.service <<'END'
[Service]
ExecStart=/usr/bin/svcd
[Install]
WantedBy=multi-user.target
END
cat > svcd.sysusers <<'END'
u svcfile 433 "From a file" /var/lib/svcfile /bin/sh
m svcfile svcd
END
cat > svcd.install <<'END'
_home=/var/lib/svcd
_user() {
  getent group svcd >/dev/null || groupadd -r -g 432 svcd
  if ! getent passwd "$1" >/dev/null 2>&1; then
    useradd -r -u 432 -g svcd -d "$_home" -s /bin/sh -c 'The daemon' "$1" >/dev/null || true
  fi
  usermod -aG audio $1 &>/dev/null
}
post_install() {
  _user svcd
  install -d -m 750 -o svcd -g svcd $_home
  systemctl enable svcd.service >/dev/null 2>&1
  systemctl daemon-reload >/dev/null 2>&1 || :
  echo "==> Edit /etc/svcd.conf first"
}
post_upgrade() { post_install "$1"; }
pre_remove() {
  systemctl --now disable svcd &>/dev/null || true
}
post_remove() {
  userdel svcd > /dev/null
}
END
cat > PKGBUILD <<'END'
pkgname=svcd
pkgver=VERSION
pkgrel=1
arch=(any)
license=(MIT)
install=svcd.install
source=(svcd.service svcd.sysusers)
sha256sums=(SKIP SKIP)
package() {
  install -Dm644 svcd.service -t "$pkgdir/usr/lib/systemd/system"
  install -Dm644 svcd.sysusers "$pkgdir/usr/lib/sysusers.d/svcd.conf"
  echo "$pkgver" > "$pkgdir/usr/lib/version"
}
END
"#;

/// A root in which scriptlets can run: bash, and the programs that they call, with their libraries.
const ROOT: &str = r#"
A=${1:?}
[ ! -e "$A" ] || exit 1
mkdir "$A"
mkdir -p "$A"/usr/{bin,sbin,lib,lib64} "$A/etc" "$A/var/lib/pacman" "$A/tmp" "$A/dev"
for link in bin sbin lib lib64; do ln -s usr/$link "$A/$link"; done
for tool in bash groupadd useradd usermod userdel getent install systemctl systemd-sysusers; do
  program=$(readlink -f "$(PATH=/usr/sbin:/usr/bin:/sbin:/bin command -v $tool)")
  mkdir -p "$A/$(dirname "$program")"
  cp -L "$program" "$A/$(dirname "$program")/"
  { ldd "$program" || true; } | { grep -o '/[^ )]*' || true; } | while read -r library; do
    mkdir -p "$A/$(dirname "$library")"
    cp -L "$library" "$A/$library"
  done
done
ln -s bash "$A/usr/bin/sh"
: > "$A/dev/null"
chmod 666 "$A/dev/null"
echo 'root:x:0:0::/root:/bin/bash' > "$A/etc/passwd"
printf 'root:x:0:\naudio:x:63:\n' > "$A/etc/group"
printf '[options]\nSigLevel = Never\nArchitecture = auto\n' > "$A.conf"
"#;

/// Runs a command as root, outside of the test's own identity.
fn as_root(program: &str, arguments: &[&str]) {
    let path = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";
    let run = Command::new(program).args(arguments).env_clear().env("PATH", path).env("LC_ALL", "C").output().unwrap();
    let told = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(run.status.success() && !told.contains("error: command failed"), "{program} {arguments:?}:\n{told}");
}

/// What a scriptlet is about: accounts without the password field, enabled units, directories with mode and owner by name, and files.
fn state(root: &Path, accounts: &[&str]) -> BTreeMap<String, String> {
    let lines = |file: &str| fs::read_to_string(root.join("etc").join(file)).unwrap_or_default();
    let mut found = BTreeMap::new();
    let mut names = BTreeMap::from([(0, "root".to_owned())]);
    for line in lines("passwd").lines() {
        let fields: Vec<&str> = line.split(':').collect();
        names.insert(fields[2].parse::<u32>().unwrap(), fields[0].to_owned());
        if accounts.contains(&fields[0]) {
            found.insert(format!("user {}", fields[0]), [fields[2], fields[4], fields[5], fields[6]].join(":"));
        }
    }
    for line in lines("group").lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if accounts.contains(&fields[0]) || fields[3].split(',').any(|member| accounts.contains(&member)) {
            found.insert(format!("group {}", fields[0]), fields[2..].join(":"));
        }
    }
    for entry in fs::read_dir(root.join("etc/systemd/system/multi-user.target.wants")).into_iter().flatten() {
        let path = entry.unwrap().path();
        let target = fs::read_link(&path).unwrap().to_string_lossy().into_owned();
        let target = target.strip_prefix("/usr").unwrap_or(&target).to_owned();
        found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), target);
    }
    if let Ok(about) = fs::symlink_metadata(root.join("var/lib/svcd")) {
        let owner = names.get(&about.uid()).cloned().unwrap_or_default();
        found.insert("var/lib/svcd".to_owned(), format!("{:o} {owner}", about.mode()));
    }
    for file in ["usr/lib/version", "usr/lib/systemd/system/svcd.service"] {
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|_| "none".to_owned());
        found.insert(file.to_owned(), text);
    }
    found
}

/// Builds the package with makepkg, and cooks it; returns both files.
fn both(env: &TestEnv, version: &str) -> (PathBuf, PathBuf) {
    let place = format!("v{version}");
    env.write(format!("{place}/make"), DAEMON.replace("VERSION", version));
    env.run(env.shell(&format!("mkdir -p out && cd {place} && bash -eu make && rm make"))).success();
    let script =
        format!("cp -r {place} mk{version} && cd mk{version} && ulimit -n 1024 && exec makepkg --nodeps --noconfirm");
    let mut makepkg = env.shell(&script);
    makepkg.env("PKGEXT", ".pkg.tar").env("PKGDEST", env.path("out")).env("SOURCE_DATE_EPOCH", EPOCH);
    env.run(makepkg).success();
    env.cook(["cook", &place, "--nodeps", "--profile", "debian"])
        .success()
        .says(&["what post_install() prints is a comment", "`systemctl daemon-reload` is left out"])
        .never_says("stays a scriptlet");
    (env.path(format!("out/svcd-{version}-1-any.pkg.tar")), env.path(format!("dist/svcd-{version}-1.any.ccs")))
}

#[test]
fn what_pacman_does_with_a_script_is_declared() {
    if !has_makepkg() {
        return;
    }
    if !is_root() {
        note("pacman runs scriptlets in a chroot: this is tried when the tests run as root");
        return;
    }
    let building = TestEnv::ordinary();
    let (first, second) = (both(&building, "1"), both(&building, "2"));
    let env = TestEnv::new();
    let theirs = env.path("theirs");
    as_root("bash", &["-eu", "-c", ROOT, "root", theirs.to_str().unwrap()]);
    let config = env.path("theirs.conf");
    let pacman = |arguments: &[&str]| {
        let own = ["--root", theirs.to_str().unwrap(), "--config", config.to_str().unwrap(), "--noconfirm", "-dd"];
        as_root("pacman", &[arguments, &own].concat());
    };
    let conary = |arguments: &[&str]| {
        env.root_command(arguments.iter().copied().chain(["--yes"])).success();
    };
    fs::create_dir_all(env.root().join("etc")).unwrap();
    fs::write(env.root().join("etc/passwd"), "root:x:0:0::/root:/bin/bash\n").unwrap();
    fs::write(env.root().join("etc/group"), "root:x:0:\naudio:x:63:\n").unwrap();
    let compare = |what: &str| {
        let accounts = ["svcd", "svcfile"];
        let (left, right) = (state(&theirs, &accounts), state(&env.root(), &accounts));
        assert_eq!(left, right, "after {what}: pacman's on the left");
        left
    };

    pacman(&["-U", first.0.to_str().unwrap()]);
    // On Arch Linux a hook of pacman calls it; Debian's pacman brings none.
    as_root("chroot", &[theirs.to_str().unwrap(), "/usr/bin/systemd-sysusers", "svcd.conf"]);
    conary(&["install", first.1.to_str().unwrap()]);
    let installed = compare("the installation");
    assert_eq!(installed["user svcd"], "432:The daemon:/var/lib/svcd:/bin/sh");
    assert_eq!(installed["var/lib/svcd"], "40750 svcd");
    assert!(installed.contains_key("svcd.service") && installed.contains_key("user svcfile"), "{installed:?}");
    assert_eq!(installed["group audio"], "63:svcd");

    pacman(&["-U", second.0.to_str().unwrap()]);
    conary(&["install", second.1.to_str().unwrap()]);
    assert_eq!(compare("the upgrade")["usr/lib/version"], "2\n");

    pacman(&["-R", "svcd"]);
    conary(&["remove", "svcd"]);
    for root in [&theirs, &env.root()] {
        let left = state(root, &["svcd"]);
        assert!(!left.contains_key("user svcd") && !left.contains_key("svcd.service"), "{left:?}");
        assert_eq!(left["usr/lib/version"], "none");
    }
}
