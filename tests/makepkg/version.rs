// tests/makepkg/version.rs
//! `pkgver()`: the version that makepkg finds in the sources, and the one that `--pin` finds.

use std::fs;

use super::{Case, DEBIAN, compare, has_makepkg};
use crate::support::TestEnv;

/// A repository with tags and a history, and a PKGBUILD that asks git, a file of another source, and `prepare()` for its version.
const SCRIPT: &str = r#"
git() { GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null command git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main "$@"; }
mkdir ../upstream; cd ../upstream
git init -q .
printf '#!/bin/sh\necho one\n' > tool; chmod +x tool
git add .; git commit -qm one; git tag -am v1.4 v1.4
echo two >> tool; git commit -qam two
echo three >> tool; git commit -qam three
git branch -q old HEAD~1; git gc -q
cd ../p
echo 9 > extra.txt
cat > PKGBUILD <<END
pkgname=tool-git
pkgver=1.0.r0
pkgrel=7
arch=(any)
license=(MIT)
makedepends=(git)
source=("tool::git+file://$PWD/../upstream" extra.txt)
sha256sums=(SKIP SKIP)
END
cat >> PKGBUILD <<'END'
_suffix=x
prepare() {
  echo prepared > "$srcdir/state"
}
pkgver() {
  cd tool
  test -z "$(git status --porcelain)"
  echo "asking git" >&2
  printf '%s.%s.%s.%s%s' "$(git describe --long --tags | sed 's/^v//;s/-/.r/;s/-/./')" "$(git rev-list --count HEAD)" \
    "$(cat "$srcdir/state")" "$(cat ../extra.txt)" "$_suffix"
}
package() {
  install -D tool/tool "$pkgdir/usr/bin/tool"
  echo "$pkgver-$pkgrel" > "$pkgdir/usr/lib/version"
}
END
sed -i 's|echo "$pkgver|mkdir -p "$pkgdir/usr/lib"; echo "$pkgver|' PKGBUILD
"#;

#[test]
fn a_version_from_the_history_of_a_repository() {
    if !has_makepkg() {
        return;
    }
    let env = TestEnv::ordinary();
    let infos = compare(&env, &Case { script: SCRIPT, packages: &["tool-git"], ..DEBIAN });
    let theirs = infos["tool-git"].lines().find_map(|line| line.strip_prefix("pkgver = ")).unwrap().to_owned();
    assert!(theirs.starts_with("1.4.r2.g") && theirs.ends_with(".3.prepared.9x-1"), "{theirs}");
    let again = env.cook(["cook", "p", "--pin", "--nodeps", "--profile", "debian"]).success();
    again.says(&[&format!("Fresh tool-git-{theirs}"), "Found version 1.4.r2.g"]);
    // The file itself is left as it is, and a recipe that was written has the version.
    assert!(fs::read_to_string(env.path("p/PKGBUILD")).unwrap().contains("pkgver=1.0.r0\n"));
    env.cook(["convert", "pkgbuild", "p", "-o", "recipe", "--pin", "--profile", "debian"]).success();
    let recipe = fs::read_to_string(env.path("recipe/recipe.toml")).unwrap();
    let version = theirs.strip_suffix("-1").unwrap();
    assert!(recipe.contains(&format!("version = \"{version}\"\nrelease = \"1\"\n")), "{recipe}");
    env.cook(["cook", "recipe", "--nodeps"]).success().says(&["Fresh"]);
}

#[test]
fn a_version_that_is_none_is_refused() {
    let env = TestEnv::ordinary();
    let pkgbuild = |body: &str| {
        format!(
            "pkgname=x\npkgver=1\npkgrel=1\narch=(any)\npkgver() {{\n{body}\n}}\npackage() {{ touch \"$pkgdir/x\"; }}\n"
        )
    };
    env.write("x/PKGBUILD", pkgbuild("echo 1-2"));
    env.cook(["cook", "x", "--pin"]).exits(3).says(&["pkgver() generated an invalid version: 1-2"]);
    env.write("x/PKGBUILD", pkgbuild("echo no luck >&2; false"));
    env.cook(["cook", "x", "--pin"]).exits(5).says(&["pkgver() of x gives no version", "no luck", "hint:"]);
    // Without `--pin` it is not asked.
    env.cook(["cook", "x"]).success().says(&["pkgver() is asked with `--pin` only: the version stays 1"]);
    env.write(
        "x/PKGBUILD",
        pkgbuild("ln -s /etc/hostname \"$pkgdir/y\"; echo 2").replace("pkgver=1", "declare -g pkgver=1"),
    );
    env.cook(["cook", "x", "--pin"]).exits(3).says(&["no line begins with `pkgver=`", "write pkgver=2"]);
}
