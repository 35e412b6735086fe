// tests/makepkg/real.rs
//! Software that many people use, from the archives as they were published: those that this workspace itself is built from, so that every
//! machine which runs the tests has them. Several of them carry the C library that they are bindings to.
//!
//! The digest in each PKGBUILD is the one in `Cargo.lock`.

use std::fs;
use std::path::PathBuf;

use super::{Case, DEBIAN, compare, has_makepkg};
use crate::support::server::{Manner, Server};
use crate::support::{TestEnv, checkout, is_root, note, skip};

/// A published archive: its file, version and SHA-256.
struct Archive {
    file: PathBuf,
    name: String,
    version: String,
    sha256: String,
}

/// Finds the archive of a package that the workspace is built from; says so where it cannot be read.
fn archive(name: &str) -> Option<Archive> {
    let lock = fs::read_to_string(checkout().join("Cargo.lock")).unwrap();
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n"))).unwrap();
    let field = |key: &str| {
        let (_, rest) = entry.split_once(&format!("{key} = \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let (version, sha256) = (field("version"), field("checksum"));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let cache = fs::read_dir(home.join("registry/cache")).into_iter().flatten().flatten();
    let found = cache.map(|entry| entry.path().join(format!("{name}-{version}.crate"))).find(|file| file.is_file());
    match found {
        Some(file) => Some(Archive { file, name: name.to_owned(), version, sha256 }),
        None if is_root() => {
            skip(&format!("the archive of {name} {version} is not in cargo's cache"));
            None
        }
        None => {
            note("published archives are in the cache of who built the tests: they are tried when root runs them");
            None
        }
    }
}

impl Archive {
    /// Puts the archive where a PKGBUILD lies, and returns shell that writes the PKGBUILD's beginning.
    fn begin(&self, env: &TestEnv, rest: &str) -> String {
        let called = format!("{}-{}.tar.gz", self.name, self.version.replace('+', "_"));
        fs::create_dir_all(env.path("p")).unwrap();
        fs::copy(&self.file, env.path("p").join(&called)).unwrap();
        env.give();
        format!(
            "cat > PKGBUILD <<'END'\n_archive={called}\n_top={}-{}\n_sum={}\n{rest}\nEND\n",
            self.name, self.version, self.sha256
        )
    }
}

/// Builds both and compares.
fn same(name: &str, pkgbuild: &str, more: &str, packages: &[&str]) {
    let Some(archive) = archive(name) else { return };
    let env = TestEnv::ordinary();
    let script = archive.begin(&env, pkgbuild) + more;
    compare(&env, &Case { script: &script, packages, ..DEBIAN });
}

#[test]
fn zlib_with_its_soname() {
    if !has_makepkg() {
        return;
    }
    let Some(archive) = archive("libz-sys") else { return };
    let env = TestEnv::ordinary();
    let pkgbuild = r#"pkgname=zlib
pkgver=1.3
pkgrel=1
pkgdesc="Compression library"
arch=(x86_64)
license=(Zlib)
depends=(glibc)
provides=(libz.so)
options=(staticlibs)
source=("$_archive")
sha256sums=("$_sum")
build() {
  cd "$_top/src/zlib"
  local file
  for file in *.c; do
    gcc $CFLAGS -O1 -fPIC -D_LARGEFILE64_SOURCE=1 -DHAVE_UNISTD_H -DHAVE_STDARG_H -c "$file"
  done
  gcc $LDFLAGS -shared -Wl,-soname,libz.so.1 -o libz.so.$pkgver *.o
  ar rcs libz.a *.o
  sed -e 's|@prefix@|/usr|; s|@exec_prefix@|/usr|; s|@libdir@|/usr/lib|; s|@sharedlibdir@|/usr/lib|' \
    -e "s|@includedir@|/usr/include|; s|@VERSION@|$pkgver|" zlib.pc.in > zlib.pc
}
check() {
  cd "$_top/src/zlib"
  printf '#include "zlib.h"\nint main(void) { return crc32(0, (const Bytef *)"abc", 3) != 0x352441c2; }\n' > crc.c
  gcc -o crc crc.c libz.a
  ./crc
}
package() {
  cd "$_top/src/zlib"
  install -Dm755 libz.so.$pkgver -t "$pkgdir/usr/lib"
  ln -s libz.so.$pkgver "$pkgdir/usr/lib/libz.so.1"
  ln -s libz.so.1 "$pkgdir/usr/lib/libz.so"
  install -Dm644 libz.a -t "$pkgdir/usr/lib"
  install -Dm644 zlib.pc -t "$pkgdir/usr/lib/pkgconfig"
  install -Dm644 zlib.h zconf.h -t "$pkgdir/usr/include"
  install -Dm644 LICENSE "$pkgdir/usr/share/licenses/$pkgname/LICENSE"
}"#;
    let script = archive.begin(&env, pkgbuild);
    let infos = compare(&env, &Case { script: &script, packages: &["zlib"], ..DEBIAN });
    // The soname is filled in from the file, as makepkg does.
    assert!(infos["zlib"].contains("provides = libz.so=1-64\n"), "{}", infos["zlib"]);
    let package = fs::read_dir(env.path("dist")).unwrap().map(|entry| entry.unwrap().path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|end| end == "ccs")).unwrap();
    let about = env.conary(["ccs", "inspect", "--json", package.to_str().unwrap()]).success().json();
    let text = about["provides"].to_string() + &about["components"].to_string();
    assert!(text.contains("soname(libz.so.1)") && !text.contains("soname(libz.so)"), "{text}");
}

#[test]
fn blake3_in_two_packages_with_a_patch_and_an_install_script() {
    let pkgbuild = r#"pkgbase=blake3
pkgname=(libblake3 blake3-example)
pkgver=1.8
pkgrel=2
arch=(x86_64)
url="https://github.com/BLAKE3-team/BLAKE3"
license=('CC0-1.0 OR Apache-2.0')
source=("$_archive" greeting.patch)
sha256sums=("$_sum" SKIP)
install=blake3.install
prepare() {
  cd "$_top/c"
  patch -p1 -i "$srcdir/greeting.patch"
}
build() {
  cd "$_top/c"
  local flags="-O1 -fPIC -DBLAKE3_NO_AVX512 -DBLAKE3_NO_AVX2 -DBLAKE3_NO_SSE41 -DBLAKE3_NO_SSE2"
  gcc $CFLAGS $flags -shared -Wl,-soname,libblake3.so.0 -o libblake3.so.0 blake3.c blake3_dispatch.c blake3_portable.c
  gcc $CFLAGS $flags -o example example.c ./libblake3.so.0
}
check() {
  cd "$_top/c"
  printf abc | LD_LIBRARY_PATH=. ./example | grep -q '^hash: 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85'
}
package_libblake3() {
  pkgdesc="A hash function"
  provides=(libblake3.so)
  cd "$_top/c"
  install -Dm755 libblake3.so.0 -t "$pkgdir/usr/lib"
  ln -s libblake3.so.0 "$pkgdir/usr/lib/libblake3.so"
  install -Dm644 blake3.h -t "$pkgdir/usr/include"
}
package_blake3-example() {
  pkgdesc="A program that shows it"
  depends=(libblake3.so)
  install=
  cd "$_top/c"
  install -Dm755 example "$pkgdir/usr/bin/b3example"
  install -Dm644 README.md -t "$pkgdir/usr/share/doc/$pkgname"
}"#;
    let more = r#"
mkdir a b
tar -xzf blake3-*.tar.gz -C a --strip-components=2 --wildcards '*/c/example.c'
sed 's/printf("%02x"/printf(i ? "%02x" : "hash: %02x"/' a/example.c > b/example.c
diff -u a/example.c b/example.c > greeting.patch || true
rm -r a b
printf 'post_install() {\n  ldconfig -r .\n  echo "see blake3.h"\n}\npost_upgrade() {\n  post_install $1\n}\n' > blake3.install
"#;
    if has_makepkg() {
        same("blake3", pkgbuild, more, &["blake3-example", "libblake3"]);
    }
}

#[test]
fn sqlite_over_http_under_another_name() {
    if !has_makepkg() {
        return;
    }
    let Some(archive) = archive("libsqlite3-sys") else { return };
    let env = TestEnv::ordinary();
    let bytes = fs::read(&archive.file).unwrap();
    let server = Server::start(bytes, Manner::Honest);
    let pkgbuild = r#"pkgname=sqlite
pkgver=3
pkgrel=1
arch=(x86_64)
license=(blessing)
source=("$pkgname-source.tar.gz::URL")
sha256sums=("$_sum")
build() {
  cd "$_top/sqlite3"
  gcc -O0 -fPIC -shared -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_THREADSAFE=0 -Wl,-soname,libsqlite3.so.0 -o libsqlite3.so.0.8.6 sqlite3.c
  printf '#include "sqlite3.h"\n#include <stdio.h>\nint main(void) { sqlite3 *db; puts(sqlite3_libversion()); return sqlite3_open(":memory:", &db); }\n' > version.c
  gcc -O0 -o sqlite-version version.c ./libsqlite3.so.0.8.6
}
check() {
  cd "$_top/sqlite3"
  ln -s libsqlite3.so.0.8.6 libsqlite3.so.0
  LD_LIBRARY_PATH=. ./sqlite-version | grep -q '^3\.'
}
package() {
  cd "$_top/sqlite3"
  install -Dm755 libsqlite3.so.0.8.6 -t "$pkgdir/usr/lib"
  ln -s libsqlite3.so.0.8.6 "$pkgdir/usr/lib/libsqlite3.so.0"
  install -Dm755 sqlite-version -t "$pkgdir/usr/bin"
  install -Dm644 sqlite3.h sqlite3ext.h -t "$pkgdir/usr/include"
}"#;
    let script = archive.begin(&env, &pkgbuild.replace("URL", &server.url("get/42"))) + "rm *.tar.gz\n";
    compare(&env, &Case { script: &script, packages: &["sqlite"], ..DEBIAN });
}

#[test]
fn llhttp_from_within_another_archive() {
    let pkgbuild = r#"pkgname=llhttp
pkgver=9
pkgrel=1
arch=(x86_64)
license=(MIT)
noextract=("$_archive")
source=("$_archive")
sha256sums=("$_sum")
prepare() {
  bsdtar -xf "$_archive" --strip-components=3 "$_top/libgit2/deps/llhttp"
}
build() {
  cd llhttp
  gcc $CFLAGS -O1 -fPIC -I. -shared -Wl,-soname,libllhttp.so.9 -o libllhttp.so.9 api.c http.c llhttp.c
  gcc $CFLAGS -O1 -I. -c api.c http.c llhttp.c
  ar rcs libllhttp.a api.o http.o llhttp.o
}
package() {
  cd llhttp
  install -Dm755 libllhttp.so.9 -t "$pkgdir/usr/lib"
  install -Dm644 libllhttp.a -t "$pkgdir/usr/lib"
  install -Dm644 llhttp.h -t "$pkgdir/usr/include"
  install -Dm644 LICENSE* -t "$pkgdir/usr/share/licenses/$pkgname"
}"#;
    if has_makepkg() {
        same("libgit2-sys", pkgbuild, "", &["llhttp"]);
    }
}

#[test]
fn the_manual_of_xz_in_all_its_languages() {
    let pkgbuild = r#"pkgname=xz-doc
pkgver=5
pkgrel=1
arch=(any)
license=(0BSD)
options=(docs zipman)
source=("$_archive")
sha256sums=("$_sum")
package() {
  cd "$_top/xz"
  local page
  for page in $(find . -name '*.1' | LC_ALL=C sort); do
    install -Dm644 "$page" "$pkgdir/usr/share/man/man1/${page##*/}"
  done
  ln -s xz.1 "$pkgdir/usr/share/man/man1/unxz.1" 2>/dev/null || :
  install -d "$pkgdir/usr/share/doc/xz"
  cp -r doc/. "$pkgdir/usr/share/doc/xz"
  install -m644 README NEWS AUTHORS COPYING* -t "$pkgdir/usr/share/doc/xz"
  find "$pkgdir/usr/share/doc" -type f -exec chmod 644 {} +
}"#;
    if has_makepkg() {
        same("liblzma-sys", pkgbuild, "", &["xz-doc"]);
    }
}

#[test]
fn the_sources_of_a_crate_as_a_package() {
    let pkgbuild = r#"pkgname=rust-itoa-src
_crate=${pkgname#rust-}; _crate=${_crate%-src}
pkgver=${_top#itoa-}
pkgrel=1
arch=(any)
url="https://crates.io/crates/$_crate"
license=('MIT OR Apache-2.0')
provides=("crate-$_crate=$pkgver")
source=("$_crate-$pkgver.tgz::file://$PWD/$_archive")
sha512sums=(SKIP)
sha256sums=("$_sum")
package() {
  install -d "$pkgdir/usr/share/cargo/registry"
  cp -r "$_top" "$pkgdir/usr/share/cargo/registry/"
  printf '{"package":"%s","files":{}}' "$_sum" > "$pkgdir/usr/share/cargo/registry/$_top/.cargo-checksum.json"
}"#;
    if !has_makepkg() {
        return;
    }
    let Some(archive) = archive("itoa") else { return };
    let env = TestEnv::ordinary();
    let place = env.path("p").to_str().unwrap().to_owned();
    let script = archive.begin(&env, &pkgbuild.replace("$PWD", &place));
    let case = Case { script: &script, packages: &["rust-itoa-src"], ..DEBIAN };
    let infos = compare(&env, &case);
    assert!(infos["rust-itoa-src"].contains("provides = crate-itoa="), "{}", infos["rust-itoa-src"]);
    // A digest that does not hold is refused by both.
    let wrong = TestEnv::ordinary();
    let script = archive.begin(&wrong, &pkgbuild.replace("$PWD", wrong.path("p").to_str().unwrap()));
    let script = script.replace(&archive.sha256, &archive.sha256.replace(['1', '2', '3'], "4"));
    wrong.write("p/make", &script);
    wrong.run(wrong.shell("cd p && bash -eu make && rm make")).success();
    let mut makepkg = wrong.shell("cp -r p mk && cd mk && ulimit -n 1024 && exec makepkg --nodeps --noconfirm");
    makepkg.env("PKGEXT", ".pkg.tar");
    assert_ne!(wrong.run(makepkg).code, 0);
    wrong.cook(["cook", "p", "--nodeps"]).exits(4).says(&["does not match its digest"]);
}

#[test]
fn this_repository_at_its_commit() {
    if !has_makepkg() {
        return;
    }
    if !checkout().join(".git").exists() {
        skip("the tests do not run in a clone");
        return;
    }
    let env = TestEnv::ordinary();
    let mut bare = std::process::Command::new("git");
    bare.args(["clone", "-q", "--bare"]).arg(checkout()).arg(env.path("conary.git"));
    // The clone may be somebody else's; what the environment says of that does not reach the process that reads it.
    env.write("git/.gitconfig", "[safe]\n\tdirectory = *\n");
    bare.env_remove("GIT_DIR").env("HOME", env.path("git"));
    assert!(bare.status().unwrap().success());
    env.give();
    let script = r#"
commit=$(git -C ../conary.git rev-parse HEAD)
cat > PKGBUILD <<END
pkgname=conary-docs
pkgver=0.1
pkgrel=1
arch=(any)
license=('MIT OR Apache-2.0')
makedepends=(git)
source=("conary::git+file://$PWD/../conary.git#commit=$commit")
sha256sums=(SKIP)
END
cat >> PKGBUILD <<'END'
package() {
  cd conary
  install -d "$pkgdir/usr/share/doc/conary"
  cp -r docs/. "$pkgdir/usr/share/doc/conary"
  install -Dm644 README.md LICENSE-* -t "$pkgdir/usr/share/doc/conary"
  install -Dm755 tests/cookbook.sh -t "$pkgdir/usr/share/doc/conary/examples"
}
END
"#;
    compare(&env, &Case { script, packages: &["conary-docs"], ..DEBIAN });
}
