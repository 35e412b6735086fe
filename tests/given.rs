// tests/given.rs
//! Owners, set-id bits and device nodes that an install step asks for: honoured without root, and the same whoever cooks.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::each_identity;

const RECIPE: &str = r#"
[package]
name = "given"
version = "1"

[build]
make = '''
cat > look.c <<'END'
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int count, char **words) {
    struct stat about;
    if (chown(words[1], 8, 12) || stat(words[1], &about)) return 1;
    printf("%d %d %d\n", (int)about.st_uid, (int)about.st_gid, (int)getuid());
    return 0;
}
END
if ! cc -static -o look look.c; then cc -o look look.c; fi
! chown 0:0 look
'''
install = '''
install -d -o root -g games -m 2775 "$DESTDIR/var/games"
install -D -o root -g mail -m 6755 /bin/true "$DESTDIR/usr/bin/send"
install -D -o httpd -g httpd -m 0640 look.c "$DESTDIR/usr/share/given/secret"
touch "$DESTDIR/usr/share/given/plain" "$DESTDIR/usr/share/given/static"
./look "$DESTDIR/usr/share/given/static"
ln -s plain "$DESTDIR/usr/share/given/link"
chown -h games:games "$DESTDIR/usr/share/given/link"
mkdir -p "$DESTDIR/dev"
mknod "$DESTDIR/dev/null" c 1 3 || echo refused
rmdir "$DESTDIR/dev"
'''
post_install = '''
stat -c '%U:%G %a %n' "$DESTDIR/usr/bin/send" "$DESTDIR/usr/share/given/secret"
chown root:root "$DESTDIR/usr/share/given/plain"
'''

[hooks]
users = [{ name = "httpd" }]
"#;

#[test]
fn owners_of_an_install_step_are_in_the_package_and_in_the_root() {
    let packages = RefCell::new(Vec::new());
    each_identity(|env| {
        env.write("given/recipe.toml", RECIPE);
        let run = env
            .cook(["cook", "given", "--json"])
            .success()
            .says(&["install wanted the device node /dest/dev/null", "/usr/bin/send runs as another user (mode 6755)"]);
        let package = run.json()["cooked"][0]["package"].as_str().unwrap().to_owned();
        packages.borrow_mut().push(fs::read(env.path(&package)).unwrap());
        env.cook(["log", "given"]).success().prints(&[
            "8 12 1000",
            "refused",
            "root:mail 6755 /dest/usr/bin/send",
            "httpd:httpd 640 /dest/usr/share/given/secret",
        ]);
        let etc = env.root().join("etc");
        fs::create_dir_all(&etc).unwrap();
        let users = "root:x:0:0::/:/bin/sh\nmail:x:81:81::/:/bin/sh\ngames:x:82:82::/:/bin/sh\n";
        fs::write(etc.join("passwd"), users).unwrap();
        fs::write(etc.join("group"), "root:x:0:\nmail:x:81:\ngames:x:82:\nman:x:83:\n").unwrap();
        env.give();
        env.root_command(["install", &package, "--yes"]).success();
        let owner = |path: &str| {
            let about = fs::symlink_metadata(env.root().join(path)).unwrap();
            (about.uid(), about.gid(), about.mode() & 0o7777)
        };
        if owner("etc").0 != 0 {
            // Who is not root installs everything as their own.
            return;
        }
        assert_eq!(owner("usr/bin/send"), (0, 81, 0o6755));
        assert_eq!(owner("usr/share/given/static"), (81, 83, 0o644));
        assert_eq!(owner("usr/share/given/plain"), (0, 0, 0o644));
        assert_eq!(owner("usr/share/given/link"), (82, 82, 0o777));
        assert_eq!(owner("var/games"), (0, 82, 0o2775));
        assert_eq!(owner("usr/share/given/secret"), (999, 999, 0o640));
    });
    let packages = packages.into_inner();
    assert!(packages.windows(2).all(|pair| pair[0] == pair[1]), "root's package and a user's differ");
}
