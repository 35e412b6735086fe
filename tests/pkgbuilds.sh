#!/usr/bin/env bash
# tests/pkgbuilds.sh: real releases from PKGBUILDs, built by makepkg and cooked by Conary, and what comes out compared.
#
#   CONARY=target/release/conary tests/pkgbuilds.sh [NAME... | all]
#
# Archives come from the distribution that this machine installs from (`apt-get source --download-only`). makepkg refuses to be root: as root,
# both run as USER_NAME, tester by default. Every path is compared with its kind, mode, owner, link and content; what gzip packed by what it holds.

set -euo pipefail
export LC_ALL=C.UTF-8

readonly HERE=$(cd "$(dirname "$0")/.." && pwd)
readonly CONARY=$(realpath "${CONARY:-$HERE/target/release/conary}")
readonly USER_NAME=${USER_NAME:-tester}
readonly ALL=(hello sed less gzip patch bzip2)
WORK=$(mktemp -d)
trap 'chmod -R u+rwX "$WORK"; rm -rf "$WORK"' EXIT
chmod 755 "$WORK"
readonly WORK STARTED=$SECONDS

say() { printf '%4ds  %s\n' $((SECONDS - STARTED)) "$*"; }

# Runs a command as the ordinary user, in a bare environment.
as_user() {
    local bare=(env -i PATH=/usr/bin:/bin "HOME=$WORK/home" LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH=1700000000 PKGEXT=.pkg.tar)
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid "$USER_NAME" --regid "$USER_NAME" --init-groups "${bare[@]}" "$@"
    else
        "${bare[@]}" "$@"
    fi
}

# Lists of source packages in directories of their own: those of this machine are left as they are.
prepare_apt() {
    local apt=$WORK/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg options=''
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    [ ! -f $keyring ] || options="[signed-by=$keyring] "
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u |
        sed "s|^\([^ ]*\) \(.*\)|deb-src $options\1 \2 main|" > "$apt/sources.list"
    cat > "$apt/apt.conf" <<EOF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
EOF
    export APT_CONFIG=$apt/apt.conf
    say "reading the lists of source packages"
    apt-get -qq update
}

pkgbuild() {
    local name=$1 version=$2 archive=$3 top=$4
    cat <<EOF
pkgname=$name
pkgver=$version
pkgrel=1
pkgdesc="The real $name"
arch=(x86_64)
license=(GPL-3.0-or-later)
source=("$archive")
sha256sums=('$(sha256sum "$archive" | cut -d' ' -f1)')
EOF
    if [ "$name" = bzip2 ]; then
        cat <<EOF
build() { cd "$top"; make CFLAGS="\$CFLAGS -D_FILE_OFFSET_BITS=64"; }
package() {
  cd "$top"
  install -Dm755 bzip2 bzip2recover bzdiff bzgrep bzmore -t "\$pkgdir/usr/bin"
  ln -s bzip2 "\$pkgdir/usr/bin/bunzip2"
  install -Dm644 libbz2.a -t "\$pkgdir/usr/lib"
  install -Dm644 bzlib.h -t "\$pkgdir/usr/include"
  install -Dm644 bzip2.1 -t "\$pkgdir/usr/share/man/man1"
}
EOF
        return
    fi
    cat <<EOF
build() {
  cd "$top"
  # Debugging information holds the build's directory, and the build id is a digest of it.
  ./configure --prefix=/usr --sysconfdir=/etc --disable-nls CFLAGS=-O2
  make
}
package() {
  cd "$top"
  make DESTDIR="\$pkgdir" install
}
EOF
}

cat > "$WORK/compare.py" <<'EOF'
import gzip, hashlib, json, os, subprocess, sys, tarfile
conary, theirs, ours, place = sys.argv[1:]
def content(data):
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return hashlib.sha256(data).hexdigest()
left = {}
with tarfile.open(theirs) as archive:
    for member in archive:
        name = "/" + member.name
        if member.name.startswith("."):
            continue
        owner = (member.uname, member.gname)
        if member.isdir():
            left[name] = ("directory", "%04o" % member.mode, owner)
        elif member.issym():
            left[name] = ("symlink", member.linkname, owner)
        elif member.islnk():
            left[name] = ("hardlink", "/" + member.linkname)
        else:
            left[name] = ("file", "%04o" % member.mode, owner, content(archive.extractfile(member).read()))
subprocess.run([conary, "--quiet", "ccs", "extract", ours, place], check=True)
right = {}
for entry in json.loads(subprocess.run([conary, "ccs", "list", "--json", ours], check=True, capture_output=True).stdout)["entries"]:
    kind, owner = entry["kind"], (entry["owner"], entry["group"])
    right[entry["path"]] = {
        "directory": lambda: (kind, entry["mode"], owner),
        "symlink": lambda: (kind, entry["target"], owner),
        "hardlink": lambda: (kind, "/" + entry["first"].lstrip("/")),
        "file": lambda: (kind, entry["mode"], owner, content(open(place + entry["path"], "rb").read())),
    }[kind]()
differences = [path for path in sorted(left.keys() | right.keys()) if left.get(path) != right.get(path)]
for path in differences:
    print(path, "makepkg", left.get(path), "conary", right.get(path), sep="\n  ")
print(f"{len(left)} entries, {len(differences)} differ")
sys.exit(bool(differences) or not left)
EOF

one() {
    local name=$1 place=$WORK/$1
    mkdir -p "$place/p" "$WORK/home"
    (cd "$place/p" && apt-get source --download-only -qq "$name" >/dev/null 2>&1) || { say "skip  $name: the distribution gives no source"; return 0; }
    rm -f "$place"/p/*.dsc "$place"/p/*debian.tar* "$place"/p/*.diff.gz "$place"/p/*.asc
    local archive top version
    archive=$(cd "$place/p" && ls -- *.orig.tar.* | head -1)
    top=$(bsdtar -tf "$place/p/$archive" | cut -d/ -f1 | sort -u | head -1)
    version=$(sed 's/^[^_]*_\(.*\)\.orig.*/\1/; s/[^A-Za-z0-9.+_]/./g' <<< "$archive")
    (cd "$place/p" && pkgbuild "$name" "$version" "$archive" "$top" > PKGBUILD)
    cp -r "$place/p" "$place/mk"
    mkdir "$place/out"
    [ "$(id -u)" != 0 ] || chown -R "$USER_NAME" "$place" "$WORK/home"
    local log=$place/makepkg.log
    (ulimit -n 1024; cd "$place/mk"; as_user env "PKGDEST=$place/out" makepkg --nodeps --noconfirm > "$log" 2>&1) ||
        { tail -20 "$log"; say "FAILED: makepkg $name"; return 1; }
    (cd "$place"; as_user "$CONARY" --quiet cook p --nodeps --profile debian --store "$WORK/home/store" --output "$place/dist") ||
        { say "FAILED: cook $name"; return 1; }
    python3 "$WORK/compare.py" "$CONARY" "$place"/out/*.pkg.tar "$place"/dist/*.ccs "$place/files" || { say "FAILED: $name differs"; return 1; }
    say "ok    $name $version is the same"
    rm -rf "${place:?}"
}

names=("$@")
[ "${#names[@]}" -gt 0 ] || names=(hello)
[ "${names[*]}" != all ] || names=("${ALL[@]}")
prepare_apt
failed=0
for name in "${names[@]}"; do
    one "$name" || failed=$((failed + 1))
done
say "${#names[@]} packages, $failed failed"
exit $((failed > 0))
