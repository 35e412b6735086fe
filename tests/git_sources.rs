// tests/git_sources.rs
//! Git sources of PKGBUILDs: checksums of the archive that git makes, and signatures of tags, from the PKGBUILD to the package.

use std::fs;
use std::process::Command;

use crate::support::TestEnv;

/// A repository with a signed tag, the public key where makepkg's packagers keep it, and a PKGBUILD with places for a checksum and a fragment.
const SCRIPT: &str = r#"
set -e
export GNUPGHOME=$PWD/gnupg GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
mkdir -m 700 gnupg
trap 'gpgconf --kill all' EXIT
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key me@example.org ed25519 sign never
fingerprint=$(gpg --with-colons --list-keys | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n1)
git() { command git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -c user.signingkey=me@example.org "$@"; }
mkdir upstream p
cd upstream
git init -q .
printf 'one\n' > tool
mkdir tests; echo no > tests/a; echo 'tests export-ignore' > .gitattributes
git add .; git commit -qm one; git tag -sm v1 v1; git tag plain
cd ../p
mkdir -p keys/pgp; gpg --armor --export > keys/pgp/$fingerprint.asc
cat > template <<END
pkgname=tool
pkgver=1
pkgrel=1
arch=(any)
license=(MIT)
source=("git+file://$PWD/../upstream@FRAGMENT@")
@SUM@
validpgpkeys=($fingerprint)
package() { install -Dm644 upstream/tool "\$pkgdir/usr/share/tool"; }
END
cd ../upstream
for kind in md5 sha256 b2; do
  printf '%s ' $kind; git -c core.abbrev=no archive --format tar v1 | ${kind}sum | cut -d' ' -f1
done > ../p/sums
"#;

#[test]
fn a_git_source_is_what_the_packager_had_and_whom_he_trusted() {
    let env = TestEnv::new();
    let made = Command::new("bash").args(["-c", SCRIPT]).current_dir(env.path(".")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let template = fs::read_to_string(env.path("p/template")).unwrap();
    let sums = fs::read_to_string(env.path("p/sums")).unwrap();
    let sum = |kind: &str| sums.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).unwrap().to_owned();
    let write = |fragment: &str, sum: &str| {
        env.write("p/PKGBUILD", template.replace("@FRAGMENT@", fragment).replace("@SUM@", sum));
    };
    let convert = || env.cook(["convert", "pkgbuild", "p", "-o", "recipe", "--pin"]);
    let recipe = || fs::read_to_string(env.path("recipe/recipe.toml")).unwrap();

    // A strong one stays, a weak one is held against the archive and becomes SHA-256.
    write("#tag=v1?signed", &format!("b2sums=({})", sum("b2")));
    convert().success().never_says("is to be signed").never_says("checksum");
    assert!(recipe().contains(&format!("checksum = \"blake2b:{}\"\n", sum("b2"))), "{}", recipe());
    assert!(recipe().contains("tag = \"v1\"\n") && recipe().contains("keys = [\"keys/pgp/"), "{}", recipe());
    env.cook(["cook", "recipe", "--nodeps"]).success().says(&["Cooked tool-1-1"]);
    write("#tag=v1?signed", &format!("md5sums=({})", sum("md5")));
    convert().success();
    assert!(recipe().contains(&format!("checksum = \"sha256:{}\"\n", sum("sha256"))), "{}", recipe());
    env.cook(["cook", "recipe", "--nodeps"]).success().says(&["tool-1-1"]);
    env.cook(["cook", "p", "--pin", "--nodeps"]).success().says(&["tool-1-1"]);

    // What was cooked answers for what was seen to hold, and for nothing else.
    env.cook(["cook", "recipe", "--nodeps"]).success().says(&["Fresh tool-1-1"]);
    let good = recipe();
    env.write("recipe/recipe.toml", good.replace(&sum("sha256"), &"5a".repeat(32)));
    env.conary(["cook", "recipe", "--nodeps"]).exits(4).says(&["does not match its checksum"]).never_says("Fresh");
    env.write("recipe/recipe.toml", good.replace("tag = \"v1\"", "tag = \"plain\""));
    env.conary(["cook", "recipe", "--nodeps"]).exits(4).says(&["is not signed"]).never_says("Fresh");
    env.write("recipe/recipe.toml", good);
    env.cook(["cook", "recipe", "--nodeps"]).success().says(&["Fresh tool-1-1"]);

    // Another archive, and a tag that nobody signed.
    write("#tag=v1", "md5sums=(d41d8cd98f00b204e9800998ecf8427e)");
    convert().exits(4).says(&["the archive that git makes of", "does not match its checksum"]);
    write("#tag=v1", &format!("sha256sums=({})", "5a".repeat(32)));
    convert().success();
    env.conary(["fetch", "recipe"]).exits(4).says(&["does not match its checksum"]);
    write("#tag=plain?signed", "sha256sums=(SKIP)");
    convert().success();
    env.conary(["fetch", "recipe"]).exits(4).says(&["is not signed"]);
}
