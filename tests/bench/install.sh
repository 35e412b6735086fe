#!/bin/bash
# tests/bench/install.sh
# Times the installer against dpkg, pacman and cp on the same real packages, in interleaved pairs (pairs.py): what
# docs/performance.md quotes under "Installing many packages".
#
#   tests/bench/install.sh [packages|files|store|remove|grow]...      all of them without a name
#
# Needs a release build ($CONARY, default target/release/conary), dpkg, pacman, bsdtar and zstd. The packages are made of
# the files of 150 packages that this machine has installed, in three formats with the same compression. Everything is
# written below one temporary directory on the file system of $TMPDIR, which is best a fresh one. Conary and dpkg sync;
# behind pacman and cp comes `sync -f` where the row says so. Where each side writes is places.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
conary=$(realpath "${CONARY:-target/release/conary}")
pairs="$PWD/tests/bench/pairs.py"
count=${PAIRS:-11}
level=6 # what `conary cook` compresses with
if [ -n "${WORK:-}" ]; then
  # The packages are made once and found again; everything else is made anew.
  work=$(mkdir -p "$WORK" && realpath "$WORK")
  [ -e "$work/made" ] || rm -rf "$work"/{trees,recipes,kitchen,ccs,deb,pacman,plain}
  rm -rf "$work"/{many,small,story}
  keep=yes
else
  work=$(mktemp -d)
fi
. tests/bench/places.sh
leave() {
  leave_places
  [ -n "${keep:-}" ] || rm -rf "$work"
}
trap leave EXIT
make_places

say() { printf '\n== %s\n' "$*"; }

# --- the packages ---------------------------------------------------------------------------------------------

# Trees of 150 installed packages, chosen so that they have about 8,000 files and 420 MB.
trees() {
  python3 - "$work/trees" <<'P'
import hashlib, os, shutil, subprocess, sys
top, wanted, most_files, most_bytes = sys.argv[1], 150, 8000, 420_000_000
listing = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n"], capture_output=True, text=True, check=True)
names = sorted({line.split()[0] for line in listing.stdout.splitlines() if line.endswith(" installed")})
merged = ("/bin/", "/sbin/", "/lib/", "/lib64/", "/lib32/", "/libx32/")
taken, packages = set(), []
for name in names:
    paths = subprocess.run(["dpkg-query", "-L", name], capture_output=True, text=True).stdout.splitlines()
    paths = [path for path in paths if path.startswith("/") and os.path.lexists(path)]
    paths = [path for path in paths if os.path.islink(path) or os.path.isfile(path)]
    files = {}
    for path in paths:
        to = "/usr" + path if path.startswith(merged) else path
        if path.startswith("/usr/") or path.startswith(merged):
            files[to] = path
    if files:
        size = sum(os.lstat(path).st_size for path in files.values())
        packages.append((name, files, size))
# Small and large ones in the mixture that meets both sums: by digest of the name, skipping what would go beyond.
packages.sort(key=lambda package: hashlib.sha256(package[0].encode()).digest())
chosen, files_left, bytes_left = [], most_files, most_bytes
for index, (name, files, size) in enumerate(packages):
    if len(chosen) == wanted:
        break
    others = wanted - len(chosen) - 1
    if len(files) > files_left - others * 30 or size > bytes_left - others * 1_000_000:
        continue
    if any(to in taken for to in files):
        continue
    chosen.append(name)
    taken.update(files)
    files_left, bytes_left = files_left - len(files), bytes_left - size
    for to, path in files.items():
        target = f"{top}/{name}{to}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
        if not os.path.islink(target):
            os.chmod(target, os.stat(target).st_mode & 0o755 | 0o600)
print(f"{len(chosen)} packages, {most_files - files_left} files, {most_bytes - bytes_left} bytes")
P
}

# A package of Conary from a directory: cook NAME VERSION TREE
cook() {
  local recipe=$work/recipes/$1
  mkdir -p "$recipe"
  rm -rf "$recipe/src"
  cp -al "$3" "$recipe/src"
  cat >"$recipe/recipe.toml" <<R
[package]
name = "$1"
version = "$2"
arch = ["any"]
[source]
path = "src"
[build]
install = "cp -a usr \"\$DESTDIR/\""
R
  $conary cook --quiet --store "$work/kitchen" --output "$work/ccs" "$recipe" >/dev/null
}

packages() {
  names=$(cd "$work/trees" 2>/dev/null && echo *) || true
  [ ! -e "$work/made" ] || return 0
  say "the packages"
  trees
  mkdir -p "$work/deb" "$work/pacman" "$work/plain"
  local tree name size
  for tree in "$work/trees"/*; do
    name=$(basename "$tree")
    size=$(du -sb "$tree" | cut -f1)
    cook "$name" 1 "$tree"
    printf 'pkgname = %s\npkgver = 1-1\npkgdesc = -\nurl = -\nbuilddate = 1\npackager = -\nsize = %s\narch = any\n' "$name" "$size" >"$tree/.PKGINFO"
    (cd "$tree" && bsdtar --uid 0 --gid 0 -cf - .PKGINFO usr | zstd -q -$level -o "$work/pacman/$name-1-1-any.pkg.tar.zst")
    rm "$tree/.PKGINFO"
    cp -a "$tree/usr" "$work/plain/"
    mkdir "$tree/DEBIAN"
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: -\nDescription: -\n' "$name" >"$tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Zzstd -z$level -b "$tree" "$work/deb/$name.deb" >/dev/null
    rm -r "$tree/DEBIAN"
  done
  printf '[options]\nArchitecture = auto\nSigLevel = Never\n[none]\nServer = file:///none\n' >"$work/pacman.conf"
  du -sb "$work"/{ccs,deb,pacman} | sed "s|$work/||"
  names=$(cd "$work/trees" && echo *)
  : >"$work/made"
}

into_dpkg="dpkg --root=$theirs/d --force-all --no-triggers --log=/dev/null -i $work/deb/*.deb"
fresh_dpkg="$(aside "$theirs/d"); mkdir -p $theirs/d/var/lib/dpkg/info $theirs/d/var/lib/dpkg/updates; : >$theirs/d/var/lib/dpkg/status; : >$theirs/d/var/lib/dpkg/available; sync"
of_pacman="pacman --root $theirs/p --dbpath $theirs/p/var/lib/pacman --config $work/pacman.conf --hookdir $work/none --noconfirm --noscriptlet"
into_pacman="$of_pacman -Udd $work/pacman/*.zst"
fresh_pacman="$(aside "$theirs/p"); mkdir -p $theirs/p/var/lib/pacman $theirs/p/var/cache/pacman/pkg $theirs/p/var/log; sync"
into_conary="$conary install --yes --quiet --root $mine/c $work/ccs/*.ccs"
fresh_conary="$(aside "$mine/c"); mkdir $mine/c; sync"

# --- what is timed --------------------------------------------------------------------------------------------

files() {
  packages
  say "150 packages from their files into an empty root, against dpkg, which syncs"
  "$pairs" -n "$count" --prepare-a "$fresh_conary" --prepare-b "$fresh_dpkg" "$into_conary" "$into_dpkg"
  say "the same against pacman, which does not sync"
  "$pairs" -n "$count" --prepare-a "$fresh_conary" --prepare-b "$fresh_pacman" "$into_conary" "$into_pacman"
}

store() {
  packages
  $conary install --yes --quiet --root "$mine/first" --store "$mine/shared" "$work"/ccs/*.ccs 2>"$work/story" || { tail -5 "$work/story"; return 1; }
  cp -a "$work/plain" "$theirs/"
  local into="$conary install --yes --quiet --root $mine/c --store $mine/shared $work/ccs/*.ccs"
  say "150 packages whose objects the store has, against pacman from files, which does not sync"
  "$pairs" -n "$count" --prepare-a "$fresh_conary" --prepare-b "$fresh_pacman" "$into" "$into_pacman"
  say "the same against cp -al of the same tree and sync -f"
  "$pairs" -n "$count" --prepare-a "$fresh_conary" --prepare-b "$(aside "$theirs/l"); mkdir $theirs/l; sync" \
    "$into" "cp -al $theirs/plain/usr $theirs/l/ && sync -f $theirs/l"
}

remove() {
  packages
  say "150 packages removed, against dpkg"
  "$pairs" -n "$count" --prepare-a "$fresh_conary; $into_conary" --prepare-b "$fresh_dpkg; $into_dpkg" \
    "$conary remove --yes --quiet --root $mine/c $names" "dpkg --root=$theirs/d --force-all --log=/dev/null --purge $names"
  say "the same against pacman, which does not sync"
  "$pairs" -n "$count" --prepare-a "$fresh_conary; $into_conary" --prepare-b "$fresh_pacman; $into_pacman" \
    "$conary remove --yes --quiet --root $mine/c $names" "$of_pacman -Rdd $names"
}

# One small package updated in roots of growing size, and planning alone.
grow() {
  say "packages of 10,000 small files each"
  local i
  for i in $(seq 20); do
    python3 - "$work/many/$i/usr/share/many/$i" "$i" <<'P'
import os, sys
for number in range(10_000):
    path = f"{sys.argv[1]}/{number // 100:02}/{number:05}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(f"{sys.argv[2]} {number % 500}\n")
P
    cook "many$i" 1 "$work/many/$i"
  done
  for i in 1 2; do
    mkdir -p "$work/small/$i/usr/bin" "$work/small/$i/usr/share/doc/small"
    echo "echo $i" >"$work/small/$i/usr/bin/small"
    for page in $(seq 20); do echo "$i $page" >"$work/small/$i/usr/share/doc/small/$page"; done
    cook small $i "$work/small/$i"
  done
  local ten="$mine/ten" two="$mine/two"
  $conary install --yes --quiet --root "$ten" "$work"/ccs/many1-1-*.ccs "$work"/ccs/small-1-*.ccs
  $conary install --yes --quiet --root "$two" "$work"/ccs/many*.ccs "$work"/ccs/small-1-*.ccs
  # To the second version and back: each run changes the root.
  local update="$conary install --yes --quiet --root"
  say "an update of a package with 21 files in a root of 200,000 files, against one of 10,000"
  "$pairs" -n "$count" --prepare-a "$update $two $work/ccs/small-1-*.ccs" --prepare-b "$update $ten $work/ccs/small-1-*.ccs" \
    "$update $two $work/ccs/small-2-*.ccs" "$update $ten $work/ccs/small-2-*.ccs"
  say "a plan for 200,000 files in an empty root, their objects in the store; the same where they are installed"
  mkdir -p "$mine/empty"
  "$pairs" -n "$count" "$conary install --dry-run --quiet --root $mine/empty --store $two/var/lib/conary $work/ccs/many*.ccs" \
    "$conary install --dry-run --quiet --root $two $work/ccs/small-2-*.ccs"
  command time -f 'peak %M KiB' $conary install --dry-run --quiet --root "$mine/empty" --store "$two/var/lib/conary" "$work"/ccs/many*.ccs >/dev/null
}

[ $# -gt 0 ] || set -- files store remove grow
for name; do
  case $name in
  packages) packages ;;
  files) files ;;
  store) store ;;
  remove) remove ;;
  grow) grow ;;
  *) echo "install.sh: no benchmark named $name" >&2; exit 2 ;;
  esac
done
