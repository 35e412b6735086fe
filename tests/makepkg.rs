// tests/makepkg.rs
//! Packages that Conary cooks from a PKGBUILD, compared with those that the real makepkg builds from the same file: every path with its kind,
//! mode, owner, link and content.
//!
//! makepkg refuses to be root; both run as the same ordinary user. Times are the same by `SOURCE_DATE_EPOCH`, and flags by profile.

mod pacman;
mod real;
mod version;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::support::{TestEnv, skip};

/// One entry of a package as text, by path.
type Listing = BTreeMap<String, String>;

/// What a test builds: shell that makes the PKGBUILD and all that belongs to it, and which packages come out.
struct Case<'a> {
    script: &'a str,
    profile: &'a str,
    /// Lines behind those of `/etc/makepkg.conf`.
    config: &'a str,
    packages: &'a [&'a str],
}

const DEBIAN: Case<'static> = Case { script: "", profile: "debian", config: "", packages: &[] };

/// Whether makepkg is here; else says so.
fn has_makepkg() -> bool {
    let here = ["makepkg", "bsdtar", "fakeroot"].iter().all(|tool| Path::new("/usr/bin").join(tool).exists());
    if !here {
        skip("no makepkg, bsdtar or fakeroot");
    }
    here
}

/// The entries of a package that makepkg made, without those that are about the package.
fn of_makepkg(package: &Path) -> Listing {
    let mut archive = tar::Archive::new(fs::File::open(package).unwrap());
    let mut listing = Listing::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        if [".PKGINFO", ".BUILDINFO", ".MTREE", ".INSTALL", ".CHANGELOG"].contains(&path.as_str()) {
            continue;
        }
        let header = entry.header().clone();
        let owner = format!("{}:{}", header.username().unwrap().unwrap(), header.groupname().unwrap().unwrap());
        let link = entry.link_name().unwrap().map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
        let mode = header.mode().unwrap();
        let text = match header.entry_type() {
            tar::EntryType::Directory => format!("directory {mode:04o} {owner}"),
            tar::EntryType::Symlink => format!("link {owner} {link}"),
            tar::EntryType::Link => format!("same as {link}"),
            _ => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                format!("file {mode:04o} {owner} {}", content(&bytes))
            }
        };
        listing.insert(format!("/{path}"), text);
    }
    listing
}

/// The entries of a package that Conary made.
fn of_conary(env: &TestEnv, package: &Path) -> Listing {
    let listed = env.conary(["ccs", "list", "--json", package.to_str().unwrap()]).success().json();
    let place = package.with_extension("files");
    env.conary(["ccs", "extract", package.to_str().unwrap(), place.to_str().unwrap()]).success();
    let mut listing = Listing::new();
    for entry in listed["entries"].as_array().unwrap() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let (path, mode, owner) = (text("path"), text("mode"), format!("{}:{}", text("owner"), text("group")));
        let line = match text("kind").as_str() {
            "directory" => format!("directory {mode} {owner}"),
            "symlink" => format!("link {owner} {}", text("target")),
            "hardlink" => format!("same as {}", text("first").trim_start_matches('/')),
            _ => {
                let bytes = fs::read(place.join(path.trim_start_matches('/'))).unwrap();
                format!("file {mode} {owner} {}", content(&bytes))
            }
        };
        listing.insert(path, line);
    }
    listing
}

/// A content, short: what is text and small as it is, else its digest. What gzip holds counts, and not how it packed it.
fn content(bytes: &[u8]) -> String {
    if bytes.starts_with(b"\x1f\x8b") {
        let mut plain = Vec::new();
        let mut child = std::process::Command::new("gzip")
            .arg("-dc")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let packed = bytes.to_vec();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, &packed));
        child.stdout.take().unwrap().read_to_end(&mut plain).unwrap();
        writer.join().unwrap().unwrap();
        assert!(child.wait().unwrap().success());
        return format!("gzip of {}", content(&plain));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() < 200 => format!("{text:?}"),
        _ => format!("{} bytes with {:x}", bytes.len(), crc(bytes)),
    }
}

/// Enough to tell two builds apart.
fn crc(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Lays out a case, and lets makepkg build it; returns the entries of each package, and the text of its `.PKGINFO`.
fn built(env: &TestEnv, case: &Case<'_>) -> (BTreeMap<String, Listing>, BTreeMap<String, String>) {
    env.write("p/make", case.script);
    let mut make = env.command("bash");
    make.args(["-eu", "make"]).current_dir(env.path("p"));
    env.run(make).success();
    fs::remove_file(env.path("p/make")).unwrap();
    env.write("makepkg.conf", format!("source /etc/makepkg.conf\n{}\n", case.config));
    // fakeroot closes every descriptor that it might have.
    let script = "cp -r p mk && mkdir out && cd mk && ulimit -n 1024 && exec makepkg --config ../makepkg.conf --nodeps --noconfirm \
                  --skippgpcheck";
    let mut makepkg = env.shell(script);
    makepkg.env("PKGEXT", ".pkg.tar").env("PKGDEST", env.path("out")).env("SOURCE_DATE_EPOCH", EPOCH).env("TZ", "UTC");
    env.run(makepkg).success();
    let mut listings = BTreeMap::new();
    let mut infos = BTreeMap::new();
    for entry in fs::read_dir(env.path("out")).unwrap() {
        let path = entry.unwrap().path();
        let mut archive = tar::Archive::new(fs::File::open(&path).unwrap());
        let mut info = String::new();
        let found = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .find(|entry| entry.path().unwrap().as_os_str() == ".PKGINFO");
        found.unwrap().read_to_string(&mut info).unwrap();
        let name = info.lines().find_map(|line| line.strip_prefix("pkgname = ")).unwrap().to_owned();
        listings.insert(name.clone(), of_makepkg(&path));
        infos.insert(name, info);
    }
    (listings, infos)
}

/// The time of both builds.
const EPOCH: &str = "1700000000";

/// Cooks the PKGBUILD itself.
fn cooked(env: &TestEnv, case: &Case<'_>) -> BTreeMap<String, Listing> {
    env.cook(["cook", "p", "--pin", "--nodeps", "--profile", case.profile]).success();
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(env.path("dist")).unwrap() {
        let path = entry.unwrap().path();
        let about = env.conary(["ccs", "inspect", "--json", path.to_str().unwrap()]).success().json();
        let name = about["name"].as_str().unwrap().to_owned();
        all.insert(name, of_conary(env, &path));
    }
    all
}

/// Builds a case in both ways and compares all that comes out; returns the `.PKGINFO` of each package.
fn compare(env: &TestEnv, case: &Case<'_>) -> BTreeMap<String, String> {
    let (theirs, infos) = built(env, case);
    let ours = cooked(env, case);
    let names: Vec<&str> = ours.keys().map(String::as_str).collect();
    assert_eq!(names, case.packages, "{:?}", theirs.keys());
    assert_eq!(theirs.keys().map(String::as_str).collect::<Vec<_>>(), case.packages);
    for name in case.packages {
        assert_same(name, &theirs[*name], &ours[*name]);
    }
    infos
}

fn assert_same(name: &str, theirs: &Listing, ours: &Listing) {
    let mut differences = String::new();
    for path in theirs.keys().chain(ours.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (left, right) = (theirs.get(path), ours.get(path));
        if left != right {
            differences.extend([
                "",
                path,
                "\n  makepkg ",
                &format!("{left:?}"),
                "\n  conary  ",
                &format!("{right:?}"),
                "\n",
            ]);
        }
    }
    assert!(differences.is_empty(), "{name} differs:\n{differences}");
    assert!(theirs.values().any(|line| !line.starts_with("directory")), "{name} has nothing to compare");
}

#[test]
fn a_program_with_configure_make_and_check() {
    if !has_makepkg() {
        return;
    }
    let script = r##"
mkdir -p hello-1.4/src hello-1.4/man
cat > hello-1.4/configure <<'EOF'
#!/bin/sh
for argument; do case $argument in --prefix=*) prefix=${argument#--prefix=} ;; esac; done
sed "s|@prefix@|$prefix|; s|@CFLAGS@|$CFLAGS|" Makefile.in > Makefile
echo "#define PREFIX \"$prefix\"" > config.h
EOF
chmod +x hello-1.4/configure
cat > hello-1.4/Makefile.in <<'EOF'
prefix = @prefix@
CFLAGS = @CFLAGS@ -O2
all: hello
hello: src/hello.c config.h
	gcc -I. $(CFLAGS) -o $@ $<
check: hello
	./hello | grep -q "hello from /usr"
install:
	install -Dm755 hello $(DESTDIR)$(prefix)/bin/hello
	install -Dm644 man/hello.1 $(DESTDIR)$(prefix)/share/man/man1/hello.1
	ln -s hello.1 $(DESTDIR)$(prefix)/share/man/man1/hi.1
	install -d $(DESTDIR)$(prefix)/share/info
	echo dir > $(DESTDIR)$(prefix)/share/info/dir
	install -d $(DESTDIR)/var/lib/hello
.PHONY: all check install
EOF
printf '#include <stdio.h>\n#include "config.h"\nint main(void) { puts("hello from " PREFIX); return 0; }\n' > hello-1.4/src/hello.c
printf '.TH hello 1\n.SH NAME\nhello\n' > hello-1.4/man/hello.1
tar -czf hello-1.4.tar.gz hello-1.4
sum=$(sha256sum hello-1.4.tar.gz | cut -d' ' -f1)
rm -r hello-1.4
cat > PKGBUILD <<EOF
pkgname=hello
pkgver=1.4
pkgrel=2
epoch=1
pkgdesc="Says hello"
arch=(x86_64)
url="https://example.org/hello"
license=(MIT)
depends=(glibc)
source=("\$pkgname-\$pkgver.tar.gz")
sha256sums=('$sum')
EOF
cat >> PKGBUILD <<'EOF'
_prefix=/usr
_enter() { cd "$srcdir/$pkgname-$pkgver"; }
build() {
  _enter
  ./configure --prefix="$_prefix"
  make
}
check() {
  _enter
  make check
}
package() {
  _enter
  make DESTDIR="$pkgdir" install
  ln -s ../share/man/man1/hello.1 "$pkgdir$_prefix/bin/page"
  echo "$pkgname $pkgver $pkgrel $epoch $CARCH $pkgdesc" > "$pkgdir/usr/share/hello"
}
EOF
"##;
    compare(&TestEnv::ordinary(), &Case { script, packages: &["hello"], ..DEBIAN });
}

#[test]
fn a_library_split_into_packages_with_sonames() {
    if !has_makepkg() {
        return;
    }
    let script = r##"
printf 'int deep(void) { return 7; }\n' > deep.c
printf 'int deep(void);\nint main(void) { return deep() - 7; }\n' > use.c
echo 'words' > manual
cat > PKGBUILD <<'EOF'
pkgbase=deep
pkgname=(libdeep deep-tools deep-doc)
pkgver=2.1
pkgrel=1
pkgdesc="Depth"
arch=(x86_64)
license=(MIT)
source=(deep.c use.c manual)
sha256sums=(SKIP SKIP SKIP)
build() {
  gcc $CFLAGS -shared -fPIC -Wl,-soname,libdeep.so.2 -o libdeep.so.2.1 deep.c
  gcc $CFLAGS -c deep.c && ar rcs libdeep.a deep.o
  gcc $CFLAGS -o use use.c ./libdeep.so.2.1
}
package_libdeep() {
  pkgdesc="Depth, the library"
  provides=(libdeep.so)
  options=(staticlibs)
  install -Dm755 libdeep.so.2.1 -t "$pkgdir/usr/lib"
  ln -s libdeep.so.2.1 "$pkgdir/usr/lib/libdeep.so.2"
  ln -s libdeep.so.2 "$pkgdir/usr/lib/libdeep.so"
  install -Dm644 libdeep.a -t "$pkgdir/usr/lib"
  echo "# $pkgname of $pkgbase" > "$pkgdir/usr/lib/libdeep.la"
}
package_deep-tools() {
  depends=("libdeep=$pkgver" libdeep.so)
  options=(!strip)
  install -Dm755 use "$pkgdir/usr/bin/deep"
  echo "$pkgname" > "$pkgdir/usr/bin/name"
}
package_deep-doc() {
  pkgdesc+=", explained"
  arch=(any)
  groups=(manuals)
  install -Dm644 manual "$pkgdir/usr/share/doc/deep/manual"
  ln "$pkgdir/usr/share/doc/deep/manual" "$pkgdir/usr/share/doc/deep/same"
}
EOF
"##;
    let env = TestEnv::ordinary();
    let case = Case { script, packages: &["deep-doc", "deep-tools", "libdeep"], ..DEBIAN };
    let case = Case {
        script: &case.script.replace("license=(MIT)\n", "license=(MIT)\noptions=(!libtool !staticlibs)\n"),
        ..case
    };
    let infos = compare(&env, &case);
    assert!(infos["deep-tools"].contains("depend = libdeep.so=2-64\n"), "{}", infos["deep-tools"]);
    let of = |name: &str| {
        let package = fs::read_dir(env.path("dist")).unwrap().map(|entry| entry.unwrap().path()).find(|path| {
            path.file_name().unwrap().to_str().unwrap().starts_with(name)
                && path.extension().is_some_and(|end| end == "ccs")
        });
        env.conary(["ccs", "inspect", "--json", package.unwrap().to_str().unwrap()]).success().json()
    };
    let tools = of("deep-tools");
    let requires = tools["requires"].to_string() + &tools["components"].to_string();
    assert!(requires.contains("soname(libdeep.so.2)") && !requires.contains("soname(libdeep.so)"), "{requires}");
    assert!(requires.contains("libdeep = 2.1"), "{requires}");
    let library = of("libdeep");
    let provides = library["provides"].to_string() + &library["components"].to_string();
    assert!(provides.contains("soname(libdeep.so.2)") && !provides.contains("soname(libdeep.so)"), "{provides}");
    assert_eq!(of("deep-doc")["groups"][0], "manuals");
}

#[test]
fn a_repository_at_a_tag() {
    if !has_makepkg() {
        return;
    }
    let script = r#"
git() { GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null command git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main "$@"; }
mkdir ../upstream; cd ../upstream
git init -q .
printf '#!/bin/sh\necho one\n' > tool; chmod +x tool; echo 3.0 > VERSION; ln -s tool link
git add .; git commit -qm one; git tag -am v3 v3.0
printf '#!/bin/sh\necho two\n' > tool; git commit -qam two
cd ../p
cat > PKGBUILD <<EOF
pkgname=tool-git
pkgver=3.0
pkgrel=1
arch=(any)
license=(MIT)
makedepends=(git)
provides=(tool)
conflicts=(tool)
source=("tool::git+file://$PWD/../upstream#tag=v3.0" "git+file://$PWD/../upstream#branch=main")
md5sums=(SKIP SKIP)
EOF
cat >> PKGBUILD <<'EOF'
pkgver() { cd tool; cat VERSION; }
prepare() { cd tool; sed -i 's/echo/echo patched/' tool; }
package() {
  install -D tool/tool "$pkgdir/usr/bin/tool"
  install -D upstream/tool "$pkgdir/usr/bin/newest"
  cp -P tool/link "$pkgdir/usr/bin/other"
}
EOF
"#;
    let env = TestEnv::ordinary();
    compare(&env, &Case { script, packages: &["tool-git"], ..DEBIAN });
    // Without a pin it is refused, and says what to do.
    let refused = env.cook(["cook", "p", "--nodeps"]).exits(3);
    refused.says(&["refs/tags/v3.0 can move", "refs/heads/main can move", "pkgver() is asked", "--pin"]);
}

#[test]
fn patches_scripts_backups_and_names_of_sources() {
    if !has_makepkg() {
        return;
    }
    let script = r#"
mkdir -p app-5/etc; echo 'level = 1' > app-5/etc/app.conf; printf '#!/bin/sh\necho app\n' > app-5/app.sh
tar -cJf app-5.tar.xz app-5; rm -r app-5
mkdir z; echo zipped > z/inside; (cd z; python3 -m zipfile -c ../data.zip inside); rm -r z
printf 'plain text\n' > words.txt; gzip -n words.txt
cat > level.patch <<'EOF'
--- a/etc/app.conf
+++ b/etc/app.conf
@@ -1 +1 @@
-level = 1
+level = 2
EOF
cat > app.install <<'EOF'
_say() { echo "$1"; }
post_install() { _say "installed $1"; }
post_upgrade() { post_install "$1 over $2"; }
EOF
cat > PKGBUILD <<EOF
pkgname=app
pkgver=5
pkgrel=1
arch=(any)
license=(custom:app)
install=app.install
backup=(etc/app.conf)
noextract=(kept.zip)
source=("archive-\$pkgver.txz::file://$PWD/app-5.tar.xz" "kept.zip::file://$PWD/data.zip" data.zip words.txt.gz level.patch)
EOF
for kind in sha512 md5; do
  printf '%s\n' "${kind}sums=($(for file in app-5.tar.xz data.zip data.zip words.txt.gz level.patch; do ${kind}sum $file | cut -d' ' -f1; done | tr '\n' ' '))" >> PKGBUILD
done
cat >> PKGBUILD <<'EOF'
prepare() {
  cd "app-$pkgver"
  patch -p1 -i ../level.patch
  msg2 "patched %s" "$pkgname"
}
package() {
  install -Dm755 "app-$pkgver/app.sh" "$pkgdir/usr/bin/app"
  install -Dm644 "app-$pkgver/etc/app.conf" "$pkgdir/etc/app.conf"
  install -Dm644 kept.zip inside words.txt data.zip -t "$pkgdir/usr/share/app"
  cd "$srcdir"
  LC_ALL=C ls > "$pkgdir/usr/share/app/sources"
  install -dm700 "$pkgdir/var/lib/app"
  install -dm1777 "$pkgdir/var/tmp/app"
  chown -R root:root "$pkgdir/var"
  chown daemon:mail "$pkgdir/var/lib/app"
  install -o games -g games -m 640 inside "$pkgdir/var/lib/app/inside"
  chmod 4755 "$pkgdir/usr/bin/app"
}
EOF
"#;
    let env = TestEnv::ordinary();
    let (theirs, _) = built(&env, &Case { script, packages: &["app"], ..DEBIAN });
    let ours = cooked(&env, &Case { script, packages: &["app"], ..DEBIAN });
    let (mut theirs, mut ours) = (theirs["app"].clone(), ours["app"].clone());
    // The one name that differs: an archive that no function speaks of is not kept beside what it held.
    let list = "/usr/share/app/sources";
    let (left, right) = (theirs.remove(list).unwrap(), ours.remove(list).unwrap());
    assert_eq!(left.replace("archive-5.txz\\n", ""), right.replace("archive-5.txz\\n", ""), "the source directory");
    assert_same("app", &theirs, &ours);
    let package = env.path("dist/app-5-1.any.ccs");
    let about = env.conary(["ccs", "inspect", "--json", package.to_str().unwrap()]).success().json();
    assert_eq!(about["config"]["files"][0], "/etc/app.conf");
    let scripts = &about["scripts"];
    assert!(scripts["post-upgrade"].as_str().unwrap().ends_with("post_upgrade \"$@\"\n"), "{scripts}");
    // What pacman would say, by the same bash.
    let script = env.write("upgrade", scripts["post-upgrade"].as_str().unwrap());
    let mut bash = env.command("bash");
    bash.args([script.to_str().unwrap(), "5-1", "4-1"]);
    assert_eq!(env.run(bash).success().stdout, "installed 5-1 over 4-1\n");
}

#[test]
fn options_are_followed() {
    if !has_makepkg() {
        return;
    }
    let script = |options: &str| {
        format!(
            r#"
printf 'int one(void) {{ return 1; }}\n' > one.c
printf 'int one(void);\nint main(void) {{ return one() - 1; }}\n' > main.c
cat > PKGBUILD <<'EOF'
pkgname=opt
pkgver=1
pkgrel=1
arch=(x86_64)
license=(MIT)
options=({options})
source=(one.c main.c)
sha256sums=(SKIP SKIP)
build() {{
  gcc $CFLAGS -g -ffile-prefix-map="$srcdir"=/src -fPIC -c one.c
  gcc $LDFLAGS -shared -Wl,-soname,libone.so.1 -o libone.so one.o
  ar rcs libone.a one.o
  gcc $CFLAGS $LDFLAGS -g -ffile-prefix-map="$srcdir"=/src -o tool main.c one.o
  gcc $CFLAGS $LDFLAGS -no-pie -g -ffile-prefix-map="$srcdir"=/src -o fixed main.c one.o
  echo $CFLAGS | sed "s|$srcdir|SRC|g" > flags
}}
package() {{
  install -D tool -t "$pkgdir/usr/bin"
  ln "$pkgdir/usr/bin/tool" "$pkgdir/usr/bin/tool-link"
  install -Dm755 fixed -t "$pkgdir/usr/bin"
  install -Dm555 tool "$pkgdir/usr/lib/opt/readonly"
  install -Dm755 libone.so -t "$pkgdir/usr/lib"
  install -Dm644 libone.a -t "$pkgdir/usr/lib"
  install -Dm644 one.o -t "$pkgdir/usr/lib/opt"
  install -Dm644 libone.a "$pkgdir/usr/lib/opt/libalone.a"
  install -Dm644 flags -t "$pkgdir/usr/share/opt"
  echo la > "$pkgdir/usr/lib/libone.la"
  for page in a.1 b.1 c.3.gz; do install -Dm644 main.c "$pkgdir/usr/share/man/man${{page:2:1}}/$page"; done
  ln -s a.1 "$pkgdir/usr/share/man/man1/alias.1"
  ln -s ../man1/b.1 "$pkgdir/usr/share/man/man3/far.3"
  ln "$pkgdir/usr/share/man/man1/b.1" "$pkgdir/usr/share/man/man1/twin.1"
  install -Dm644 main.c "$pkgdir/usr/local/share/man/de/man1/lokal.1"
  install -Dm644 main.c "$pkgdir/usr/share/info/opt.info"
  install -Dm644 main.c "$pkgdir/usr/share/info/dir"
  install -Dm644 main.c "$pkgdir/usr/share/doc/opt/words"
  install -Dm644 main.c "$pkgdir/usr/share/gtk-doc/opt/words"
  install -Dm644 main.c "$pkgdir/opt/opt/doc/words"
  install -Dm644 main.c "$pkgdir/usr/lib/perl5/opt/.packlist"
  install -Dm644 main.c "$pkgdir/usr/lib/perl5/opt/x.pod"
  install -d "$pkgdir"/usr/share/opt/{{empty/inside,full}} "$pkgdir/srv/nothing"
  echo x > "$pkgdir/usr/share/opt/full/x"
}}
EOF
"#
        )
    };
    let cases = [
        "",
        "!strip docs libtool staticlibs emptydirs zipman purge",
        "!docs !libtool !staticlibs !emptydirs !zipman !purge",
        "!strip debug !purge !docs zipman !emptydirs",
    ];
    std::thread::scope(|scope| {
        for options in cases {
            let script = script(options);
            scope.spawn(move || {
                compare(&TestEnv::ordinary(), &Case { script: &script, packages: &["opt"], ..DEBIAN });
            });
        }
    });
}

/// What `/etc/makepkg.conf` has on Arch Linux, where the profile comes from.
const ARCH: &str = r#"CHOST="x86_64-pc-linux-gnu"
CFLAGS="-march=x86-64 -mtune=generic -O2 -pipe -fno-plt -fexceptions -Wp,-D_FORTIFY_SOURCE=3 -Wformat -Werror=format-security -fstack-clash-protection -fcf-protection -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer"
CXXFLAGS="$CFLAGS -Wp,-D_GLIBCXX_ASSERTIONS"
LDFLAGS="-Wl,-O1 -Wl,--sort-common -Wl,--as-needed -Wl,-z,relro -Wl,-z,now -Wl,-z,pack-relative-relocs"
LTOFLAGS="-flto=auto"
RUSTFLAGS="-Cforce-frame-pointers=yes"
DEBUG_CFLAGS="-g"
DEBUG_CXXFLAGS="$DEBUG_CFLAGS"
DEBUG_RUSTFLAGS="-C debuginfo=2"
OPTIONS=(strip docs !libtool !staticlibs emptydirs zipman purge debug lto)
"#;

#[test]
fn the_flags_of_arch_and_debug_packages() {
    if !has_makepkg() {
        return;
    }
    let script = r#"
mkdir -p sum-0.9/lib; printf 'int sum(int a, int b) { return a + b; }\n' > sum-0.9/lib/sum.c
printf '#include <stdio.h>\nint sum(int, int);\nint main(int argc, char **argv) { (void)argv; printf("%%d %%s\\n", sum(argc, 2), __FILE__); return 0; }\n' > sum-0.9/main.c
tar -cf sum-0.9.tar sum-0.9; rm -r sum-0.9
cat > PKGBUILD <<'EOF'
pkgname=sum
pkgver=0.9
pkgrel=1
arch=(x86_64)
license=(MIT)
source=(sum-0.9.tar)
b2sums=(SKIP)
build() {
  cd sum-$pkgver
  gcc $CFLAGS $LDFLAGS -fPIC -shared -Wl,-soname,libsum.so.0 -o libsum.so.0 "$srcdir/sum-$pkgver/lib/sum.c"
  gcc $CFLAGS $LDFLAGS -o sum main.c "$srcdir/sum-$pkgver/lib/sum.c"
  env | grep -E '^(C|CXX|LD|RUST)FLAGS=|^CHOST=' | sed "s|$srcdir|SRC|g" | LC_ALL=C sort > flags
}
package() {
  cd sum-$pkgver
  install -Dm755 sum -t "$pkgdir/usr/bin"
  install -Dm755 libsum.so.0 -t "$pkgdir/usr/lib"
  install -Dm644 flags -t "$pkgdir/usr/share/sum"
}
EOF
"#;
    let env = TestEnv::ordinary();
    let case = Case { script, profile: "arch", config: ARCH, packages: &["sum"] };
    let (theirs, _) = built(&env, &case);
    let ours = cooked(&env, &case);
    // Symbols are a package of their own there and a component here. Sources of a debugger are not kept here.
    let mut both = theirs["sum"].clone();
    both.extend(theirs["sum-debug"].clone());
    both.retain(|path, _| !path.starts_with("/usr/src"));
    let mut flags = (String::new(), String::new());
    for (listing, text) in [(&mut both, &mut flags.0), (&mut ours["sum"].clone(), &mut flags.1)] {
        *text = listing["/usr/share/sum/flags"].clone();
    }
    let mut ours = ours["sum"].clone();
    both.remove("/usr/share/sum/flags");
    ours.remove("/usr/share/sum/flags");
    assert_same("sum", &both, &ours);
    assert!(both.keys().any(|path| path.starts_with("/usr/lib/debug/.build-id/")), "{both:#?}");
    assert_eq!(flags.0, flags.1, "the flags");
}

#[test]
fn a_python_module_and_plain_data() {
    if !has_makepkg() {
        return;
    }
    if !Path::new("/usr/lib/python3/dist-packages/setuptools").exists() {
        skip("no setuptools for /usr/bin/python3");
        return;
    }
    let module = r#"
mkdir -p mod-1.0/mod; echo 'WORD = "word"' > mod-1.0/mod/__init__.py; printf 'from mod import WORD\n\n\ndef main():\n    print(WORD)\n' > mod-1.0/mod/cli.py
cat > mod-1.0/setup.py <<'EOF'
from setuptools import setup
setup(name="mod", version="1.0", packages=["mod"], entry_points={"console_scripts": ["mod = mod.cli:main"]})
EOF
tar -czf mod-1.0.tar.gz mod-1.0; rm -r mod-1.0
cat > PKGBUILD <<'EOF'
pkgname=python-mod
_name=${pkgname#python-}
pkgver=1.0
pkgrel=1
arch=(any)
license=(BSD-3-Clause)
depends=(python)
makedepends=(python-setuptools)
source=("${_name}-$pkgver.tar.gz")
cksums=(SKIP)
build() { cd "$_name-$pkgver"; /usr/bin/python3 setup.py -q build; }
check() { cd "$_name-$pkgver/build/lib"; PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -c 'import mod.cli; mod.cli.main()' | grep -q word; }
package() { cd "$_name-$pkgver"; /usr/bin/python3 setup.py -q install --root="$pkgdir" --optimize=1 --skip-build; }
EOF
"#;
    let data = r#"
mkdir fonts; for name in one two three; do echo "$name" > fonts/$name.ttf; done; echo no > fonts/skip.txt
bsdtar --format zip -cf fonts.zip fonts; rm -r fonts
for arch in x86_64 aarch64; do echo "$arch" > table.$arch; done
cat > PKGBUILD <<'EOF'
pkgname=('ttf-plain')
pkgver=20240101
pkgrel=1.1
arch=(x86_64 aarch64)
license=(OFL-1.1)
groups=(fonts)
source=(fonts.zip)
source_x86_64=(table.x86_64)
source_aarch64=("https://example.invalid/table.aarch64")
sha1sums=(SKIP)
sha1sums_x86_64=(SKIP)
sha256sums_aarch64=(e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855)
depends_x86_64=(lib32)
optdepends=('viewer: to see them')
_sizes=([16]=small [32]='not so small')
declare -gA _names=([one]=Uno [two]="Due e")
package() {
  install -Dm644 fonts/*.ttf -t "$pkgdir/usr/share/fonts/$pkgname"
  install -Dm644 table.$CARCH "$pkgdir/usr/share/table"
  local size name
  for size in "${!_sizes[@]}"; do echo "$size ${_sizes[$size]}"; done > "$pkgdir/usr/share/sizes"
  for name in one two; do echo "$name ${_names[$name]}"; done >> "$pkgdir/usr/share/sizes"
  mkdir -p "$pkgdir"/usr/share/{empty,links}
  ln -s /usr/share/table "$pkgdir/usr/share/links/absolute"
  ln -s nowhere "$pkgdir/usr/share/links/dangling"
  touch "$pkgdir/usr/share/links/with space and 'quote"
  chmod 600 "$pkgdir/usr/share/table"
}
EOF
"#;
    std::thread::scope(|scope| {
        scope.spawn(|| compare(&TestEnv::ordinary(), &Case { script: module, packages: &["python-mod"], ..DEBIAN }));
        scope.spawn(|| compare(&TestEnv::ordinary(), &Case { script: data, packages: &["ttf-plain"], ..DEBIAN }));
    });
}
