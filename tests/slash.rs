// tests/slash.rs
//! `--root /`: the running system itself is changed, in a mount namespace whose root is a small tree made for it.

use std::fs;
use std::process::Command;

use crate::support::{Run, TestEnv, is_root, program, skip};

const TOOL: &str = r#"
[package]
name = "tool"
version = "VERSION"

[build]
install = '''
mkdir -p "$DESTDIR/usr/bin" "$DESTDIR/etc" "$DESTDIR/usr/share/words" "$DESTDIR/usr/lib/systemd/system"
echo '[Service]' > "$DESTDIR/usr/lib/systemd/system/tool.service"
printf '#!/bin/sh\necho tool VERSION\n' > "$DESTDIR/usr/bin/tool"
chmod 755 "$DESTDIR/usr/bin/tool"
echo VERSION > "$DESTDIR/etc/tool.conf"
echo VERSION > "$DESTDIR/usr/share/words/tool"
'''
"#;

/// What root can do there: an account, and programs that run in the sandbox.
const LIVE: &str = r#"
[hooks]
users = [{ name = "tool" }]

[scripts]
post-install = "mkdir -p /srv; echo $1 > /srv/installed"
post-upgrade = "echo $1 > /srv/upgraded"
"#;

/// Makes the tree: a shell, a few programs with their libraries, and somewhere to mount things.
const TREE: &str = r#"
mkdir -p new/usr/bin new/usr/lib new/usr/lib64 new/etc new/proc new/dev new/tmp new/var new/packages new/old
ln -s usr/bin new/bin; ln -s usr/bin new/sbin; ln -s usr/lib new/lib; ln -s usr/lib64 new/lib64
for program in sh cat ls mkdir rm umount; do
  program=$(command -v $program)
  cp -L "$program" new/usr/bin/
  for library in $(ldd "$program" "$CONARY" | grep -o '/[^ :]*' | grep '\.so'); do
    mkdir -p "new$(dirname "$library")"; cp -L "$library" "new$library"
  done
done
printf 'root:x:0:0::/root:/bin/sh\n' > new/etc/passwd; printf 'root:x:0:\n' > new/etc/group
touch new/usr/bin/conary
cp packages/*.ccs new/packages/
"#;

/// Makes the tree the root of a namespace; from there on nothing else can be seen.
const ENTER: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
mount --bind new new
mount --bind "$CONARY" new/usr/bin/conary
mount -t proc proc new/proc
mount --rbind /dev new/dev
cd new
pivot_root . old
cd /
umount -l /old
rm -d /old
exec /bin/sh -euc "$INSIDE"
"#;

/// Runs `script` in a namespace whose root is the tree; none where there is no such namespace.
fn inside(env: &TestEnv, script: &str) -> Option<Run> {
    let namespaces: &[&str] = if is_root() && !env.is_ordinary() {
        &["--mount", "--pid", "--fork"]
    } else {
        &["--user", "--map-root-user", "--mount", "--pid", "--fork"]
    };
    let mut probe = env.command("unshare");
    if !probe.args(namespaces).arg("true").status().is_ok_and(|status| status.success()) {
        skip("no namespace in which a root could be made");
        return None;
    }
    let tree = |command: &mut Command| {
        command.env("CONARY", program());
    };
    let mut made = env.shell(TREE);
    tree(&mut made);
    env.run(made).success();
    let mut entered = env.command("unshare");
    entered.args(namespaces).args(["sh", "-euc", ENTER]).env("INSIDE", script);
    tree(&mut entered);
    Some(env.run(entered))
}

fn packages(env: &TestEnv, more: &str) {
    for version in ["1", "2"] {
        env.write(format!("tool-{version}/recipe.toml"), format!("{TOOL}{more}").replace("VERSION", version));
        env.cook(["cook", &format!("tool-{version}"), "--output", "packages"]).success();
    }
}

/// Everything that is done in either case.
const CHANGES: &str = r"
conary install --yes --root / /packages/tool-1-1.*.ccs
tool
conary verify --root /
echo mine > /etc/tool.conf
conary install --yes --root / /packages/tool-2-1.*.ccs
tool
cat /etc/tool.conf /etc/tool.conf.conary-new
conary list --root /
conary owner /usr/bin/tool --root /
conary rollback --yes --root /
tool
conary redo --yes --root /
tool
conary verify --root / || echo differs
";

/// What that prints.
const CHANGED: &str = "\
tool 1
tool 2
mine
2
tool  2-1
/usr/bin/tool: tool:runtime
tool 1
tool 2
/etc/tool.conf: content differs (configuration)
differs
";

/// What scriptlets, a trigger and a hook did, and what of the hook is left in the end.
const DONE: &str = "\
1-1
2-1
2
root:x:0:0::/root:/bin/sh
tool:!*:999:999::/:/usr/sbin/nologin
root:x:0:0::/root:/bin/sh
";

/// What is left, but for what had been there.
const LEFT: &str = "\
/etc:
group
passwd
tool.conf.conary-save

/usr:
bin
lib
lib64

/var:
lib
";

#[test]
fn the_running_system_is_changed() {
    if !is_root() {
        crate::support::note("root changes the running system; a user's namespace is tried below");
        return;
    }
    let env = TestEnv::new();
    packages(&env, LIVE);
    let words = r#"
conary trigger add words --path '/usr/share/words/*' --root / -- 'mkdir -p "$OUT/var/cache"; cat /usr/share/words/* > "$OUT/var/cache/words"'
"#;
    let after = r"
cat /srv/installed /srv/upgraded /var/cache/words
cat /etc/passwd
mkdir -p /run/systemd/system
conary remove tool --yes --root /
rm -r /run
cat /etc/passwd
ls /usr /etc /var
conary state list --json --root / > /dev/null
";
    let Some(run) = inside(&env, &[words, CHANGES, after].concat()) else { return };
    let run = run.success().says(&["run `systemctl daemon-reload`"]);
    assert_eq!(run.stderr.matches("daemon-reload").count(), 1, "{}", run.stderr);
    assert_eq!(run.stdout, format!("{CHANGED}{DONE}{LEFT}"));
}

#[test]
fn a_namespace_of_a_user_is_changed() {
    let env = TestEnv::ordinary();
    packages(&env, "");
    let after = "conary remove tool --yes --root /\nls /usr /etc /var\n";
    let Some(run) = inside(&env, &[CHANGES, after].concat()) else { return };
    assert_eq!(run.success().stdout, format!("{CHANGED}{LEFT}"));
    assert!(fs::symlink_metadata(env.path("new/usr/bin/tool")).is_err());
}
