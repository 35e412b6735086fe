// tests/convert.rs
//! PKGBUILDs: read without running them, converted, cooked, and kept from harm where they have to be run.

use crate::support::{TestEnv, each_identity};

const GREET: &str = r#"pkgname=greet
pkgver=1.2
pkgrel=3
pkgdesc="Says hello"
arch=('x86_64')
license=('MIT')
source=("greet.c" "words.patch")
sha256sums=('SKIP' 'SKIP')
prepare() {
  cd "$srcdir"
  patch -p0 -i words.patch
}
build() { gcc $CFLAGS -o greet greet.c; }
package() { install -Dm755 greet "$pkgdir/usr/bin/greet"; }
"#;

const SPLIT: &str = r#"pkgbase=two
pkgname=(two-lib two-doc)
pkgver=1.0
pkgrel=1
pkgdesc="Both"
arch=(any)
license=(MIT)
build() { echo lib > lib; echo doc > doc; }
package_two-lib() {
  pkgdesc="The library"
  install -Dm644 lib "$pkgdir/usr/share/two/lib"
}
package_two-doc() {
  pkgdesc="The documents"
  install -Dm644 doc "$pkgdir/usr/share/doc/two/doc"
}
"#;

#[test]
fn a_pkgbuild_with_a_patch_is_converted_cooked_and_installed() {
    each_identity(|env| {
        env.write("greet/PKGBUILD", GREET);
        env.write("greet/greet.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n");
        let patch = "--- greet.c\n+++ greet.c\n@@ -1,2 +1,2 @@\n #include <stdio.h>\n-int main(void) { puts(\"hello\"); \
                     return 0; }\n+int main(void) { puts(\"hello, world\"); return 0; }\n";
        env.write("greet/words.patch", patch);
        // What lies beside the file is its own claim.
        let converted = env.conary(["convert", "pkgbuild", "greet", "-o", "recipe"]).success();
        converted.says(&["Converted"]).never_says("checksum");
        env.cook(["cook", "recipe"]).success().prints(&["greet=1.2-3"]);
        env.cook(["cook", "recipe"]).success().says(&["Fresh greet-1.2-3"]);
        // The PKGBUILD itself is the same recipe.
        for word in ["greet", "greet/PKGBUILD"] {
            env.cook(["cook", word]).success().prints(&["greet=1.2-3"]).says(&["Fresh greet-1.2-3"]);
        }
        env.cook(["why", "greet"]).success();
        env.cook(["cook", "greet", "--profile", "plain"]).success().says(&["Cooked greet-1.2-3"]);
        env.cook(["settings", "set", "profile", "plain"]).success();
        env.cook(["cook", "greet"]).success().says(&["Fresh greet-1.2-3"]);
        env.cook(["cook", "greet", "--profile", "none"]).exits(2).says(&["there is no profile none", "debian"]);
        env.cook(["source", "pin", "greet"]).exits(2).says(&["convert pkgbuild"]);
        let install = "conary install --root root --yes dist/greet-1.2-3.x86_64.ccs && root/usr/bin/greet";
        env.run(env.shell(install)).success().prints(&["hello, world"]);
    });
}

#[test]
fn a_split_pkgbuild_gives_a_package_for_each_name() {
    let env = TestEnv::ordinary();
    env.write("two/PKGBUILD", SPLIT);
    env.conary(["convert", "pkgbuild", "two", "-o", "recipe"]).success();
    env.cook(["cook", "recipe"]).success().prints(&["two-lib=1.0-1\n", "two-doc=1.0-1\n"]);
    let files = env.conary(["ccs", "list", "dist/two-doc-1.0-1.any.ccs"]).success();
    assert!(files.stdout.contains("usr/share/doc/two/doc") && !files.stdout.contains("usr/share/two/lib"));
}

#[test]
fn what_has_to_be_run_is_run_in_the_sandbox_or_refused() {
    each_identity(|env| {
        let dynamic = "pkgname=x\npkgver=$(printf abc | wc -c)\npkgrel=1\npkgdesc=x\narch=(any)\nlicense=(MIT)\n\
                       echo noise\ntouch \"$HOME/owned\" /tmp/owned\npackage() { :; }\n";
        env.write("x/PKGBUILD", dynamic);
        env.conary(["convert", "pkgbuild", "x", "-o", "no", "--static-only"]).exits(3).says(&["line 2", "hint:"]);
        // Whatever its name is, and where it has none.
        env.write("y/of x.PKGBUILD", dynamic);
        env.conary(["convert", "pkgbuild", "y/of x.PKGBUILD"]).success().prints(&["version = \"3\""]);
        env.run(env.shell("cat x/PKGBUILD | conary convert pkgbuild -")).success().prints(&["version = \"3\""]);
        env.conary(["convert", "pkgbuild", "none"]).exits(10).says(&["cannot read", "none"]);
        env.conary(["convert", "pkgbuild", "x", "--check-srcinfo"]).exits(10).says(&[".SRCINFO", "hint:"]);
        env.conary(["convert", "pkgbuild", "x", "-o", "/proc/none"]).exits(11).says(&["cannot write /proc/none"]);
        env.conary(["convert", "pkgbuild", "x", "-o", "yes"]).success();
        let recipe = std::fs::read_to_string(env.path("yes/recipe.toml")).unwrap();
        assert!(recipe.contains("version = \"3\""), "{recipe}");
        let owned = env.run(env.shell("ls \"$HOME\" /tmp | grep owned || true")).success();
        assert_eq!(owned.stdout, "", "the file did something outside of the sandbox");
    });
}

#[test]
fn differences_from_the_srcinfo_are_named() {
    let env = TestEnv::ordinary();
    env.write("two/PKGBUILD", SPLIT);
    let right = "pkgbase = two\n\tpkgdesc = Both\n\tpkgver = 1.0\n\tpkgrel = 1\n\tarch = any\n\tlicense = MIT\n\npkgname = two-lib\n\
                 \tpkgdesc = The library\n\npkgname = two-doc\n\tpkgdesc = The documents\n";
    env.write("two/.SRCINFO", right);
    env.conary(["convert", "pkgbuild", "two", "--check-srcinfo"]).success();
    env.conary(["convert", "pkgbuild", "two", "--check-srcinfo", "-o", "same"]).success();
    assert!(env.path("same/recipe.toml").exists());
    // What the file itself prints stands there too where makepkg's output was kept.
    env.write("two/.SRCINFO", format!("==> Warning: a=b\n  -> look=here\n{right}"));
    env.conary(["convert", "pkgbuild", "two", "--check-srcinfo"]).success();
    env.write("two/.SRCINFO", right.replace("pkgrel = 1", "pkgrel = 2"));
    env.conary(["convert", "pkgbuild", "two", "--check-srcinfo", "-o", "other"]).exits(3).says(&["pkgrel"]);
    assert!(!env.path("other/recipe.toml").exists());
    env.conary(["convert", "pkgbuild", "two", "--check-srcinfo"]).exits(3).says(&["pkgrel", "`2`", "`1`"]);
}
