#!/bin/bash
# tests/bench/store.sh
# Times the store against its peers on one real tree, in interleaved pairs (pairs.py): the section "The store" of
# docs/performance.md.
#
#   tests/bench/store.sh [import|checkout|packages|million|collect|verify|sizes]...      all but collect and sizes without a name
#
# Builds `store/examples/store.rs` unless $STORE names the program; `million`, `collect` and `sizes` want a release build ($CONARY, default
# target/release/conary). The tree is $TREE, or 9,500
# entries with 420 MB picked from /usr, which must hold that much. `nix-store` (Debian package nix-bin) and `ostree` are compared where they are installed. Everything is written below one
# temporary directory on the file system of $TMPDIR. Import: Conary syncs what it does, and behind `cp -a` and `nix-store --add` comes
# `sync -f`; `ostree commit` syncs by itself. Nobody syncs a checkout, or a package that is written. `sizes` takes a directory of
# packages ($PACKAGES_DIR, default dist).
set -euo pipefail
cd "$(dirname "$0")/../.."
pairs="$PWD/tests/bench/pairs.py"
if [ -z "${STORE:-}" ]; then
  cargo build --quiet --release -p conary-store --example store
  STORE=$(realpath "${CARGO_TARGET_DIR:-target}/release/examples/store")
fi
conary=$(realpath "${CONARY:-target/release/conary}")
count=${PAIRS:-11}
level=${LEVEL:-6}
work=$(mktemp -d)
. tests/bench/places.sh
trap 'leave_places; rm -rf "$work"' EXIT
make_places

say() { printf '\n== %s\n' "$*"; }

# Real files, directories and links, the same ones each time on one machine.
tree=${TREE:-$work/tree}
[ -n "${TREE:-}" ] || python3 - "$tree" <<'P'
import hashlib, os, shutil, sys
ENTRIES, BYTES, LARGEST = 9_500, 420_000_000, 40_000_000
units = {}
for top in ("/usr/bin", "/usr/include", "/usr/lib", "/usr/share"):
    for directory, below, names in os.walk(top):
        paths = sorted(os.path.join(directory, name) for name in names + below)
        paths = [path for path in paths if os.path.islink(path) or os.path.isfile(path)]
        if 0 < len(paths) <= 2_000:
            units[directory] = [path for path in paths if os.lstat(path).st_size <= LARGEST]
size = lambda path: os.lstat(path).st_size
picked, directories, total = [], set(), 0
def above(directory):
    while directory not in directories and directory != "/":
        yield directory
        directory = os.path.dirname(directory)
# Whole directories by the digest of their names, few enough that there is room for large files; then the largest that fit.
for directory in sorted(units, key=lambda path: hashlib.sha256(os.fsencode(path)).digest()):
    new = list(above(directory))
    entries = len(picked) + len(directories) + len(units[directory]) + len(new)
    then = total + sum(map(size, units[directory]))
    if entries <= ENTRIES - 200 and then <= min(entries * BYTES // ENTRIES + 30_000_000, BYTES):
        picked, total = picked + units[directory], then
        directories.update(new)
taken = set(picked)
rest = [path for paths in units.values() for path in paths if path not in taken and not os.path.islink(path)]
for path in sorted(rest, key=lambda path: (-size(path), path)):
    new = list(above(os.path.dirname(path)))
    if len(new) < ENTRIES - len(picked) - len(directories) and total + size(path) <= BYTES:
        picked, total = picked + [path], total + size(path)
        directories.update(new)
for path in picked:
    target = sys.argv[1] + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(path, target, follow_symlinks=False)
print(f"{len(picked)} files and links, {len(directories)} directories, {total} bytes")
P

into_ostree() { ostree --repo="$theirs/bare" init --mode=bare; }

import() {
  say "import, synced: A = into an empty store; B = cp -a, then sync -f"
  "$pairs" -n "$count" --prepare-a "$(aside $mine/store); sync" --prepare-b "$(aside $theirs/plain); sync" \
    "$STORE ingest $mine/store $tree" "cp -a $tree $theirs/plain && sync -f $theirs/plain"
  say "import again (B is nothing)"
  "$STORE" ingest "$mine/store" "$tree" >/dev/null
  "$pairs" -n "$count" "$STORE ingest $mine/store $tree" true
  if command -v nix-store >/dev/null; then
    export NIX_CONFIG=$'build-users-group =\nsubstituters =\nsandbox = false'
    export NIX_STORE_DIR=$theirs/nix/store NIX_STATE_DIR=$theirs/nix/var NIX_LOG_DIR=$theirs/nix/log
    say "import: A = into an empty store; B = nix-store --add, then sync -f"
    "$pairs" -n "${SLOW_PAIRS:-5}" --prepare-a "$(aside $mine/store); sync" \
      --prepare-b "chmod -R u+w $theirs/nix 2>/dev/null; $(aside $theirs/nix); sync" \
      "$STORE ingest $mine/store $tree" "nix-store --add $tree && sync -f $theirs/nix"
    chmod -R u+w "$theirs/nix" "$theirs/old"
  fi
  if command -v ostree >/dev/null; then
    say "import: A = into an empty store; B = ostree commit to a bare repository"
    "$pairs" -n "${SLOW_PAIRS:-5}" --prepare-a "$(aside $mine/store); sync" \
      --prepare-b "$(aside $theirs/bare); ostree --repo=$theirs/bare init --mode=bare; sync" \
      "$STORE ingest $mine/store $tree" "ostree --repo=$theirs/bare commit -b one $tree"
  fi
}

checkout() {
  local id
  id=$("$STORE" ingest "$mine/store" "$tree" | cut -d' ' -f1)
  "$STORE" checkout "$mine/store" "$id" "$mine/links" link >/dev/null
  if command -v ostree >/dev/null; then
    [ -d "$theirs/bare" ] || { into_ostree && ostree --repo="$theirs/bare" commit -b one "$tree" >/dev/null; }
    say "checkout by links: A = Conary; B = ostree checkout -H"
    "$pairs" -n "$count" --prepare-a "$(aside $mine/links)" --prepare-b "$(aside $theirs/checked)" \
      "$STORE checkout $mine/store $id $mine/links link" "ostree --repo=$theirs/bare checkout -H one $theirs/checked"
  fi
  say "checkout by copies: A = Conary; B = cp -a"
  "$pairs" -n "$count" --prepare-a "$(aside $mine/copies); sync" --prepare-b "$(aside $theirs/plain); sync" \
    "$STORE checkout $mine/store $id $mine/copies copy" "cp -a $tree $theirs/plain"
}

packages() {
  local id threads
  id=$("$STORE" ingest "$mine/store" "$tree" | cut -d' ' -f1)
  say "write at level $level: A = package; B = tar | zstd -T0"
  "$pairs" -n "${SLOW_PAIRS:-5}" "$STORE write $mine/store $id $work/p.ccs $level" \
    "tar -C $tree --sort=name -cf - . | zstd -q -f -T0 -$level -o $work/p.tar.zst"
  stat -c '%n: %s bytes' "$work/p.ccs" "$work/p.tar.zst"
  for threads in 2 1; do
    say "read, $threads threads: A = into an empty store, verified and synced; B = tar -I zstd -x, then sync -f"
    "$pairs" -n "$count" --prepare-a "$(aside $mine/into); sync" --prepare-b "$(aside $theirs/plain); mkdir $theirs/plain; sync" \
      "env RAYON_NUM_THREADS=$threads $STORE import $mine/into $work/p.ccs" \
      "tar -C $theirs/plain -I zstd -xf $work/p.tar.zst && sync -f $theirs/plain"
  done
}

# Rows of a store for so many objects out of a million, of which the last ones are sources; with their files, if asked for.
rows() {
  "$conary" mirror add https://a.invalid/ https://b.invalid/ --store "$1" 2>/dev/null
  python3 - "$@" <<'P'
import hashlib, os, sqlite3, sys
store, sources, files = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "files"
database = sqlite3.connect(f"{store}/store.db")
names = [hashlib.sha256(str(number).encode()).digest() for number in range(1_000_000)]
rows = ((name, "644", 1 if files else number % 50_000) for number, name in enumerate(names))
database.executemany("INSERT INTO objects (digest, variant, size_bytes) VALUES (?, ?, ?)", rows)
kept = ((f"sha256:{name.hex()}", name, 1, "file", "", "x") for name in names[len(names) - sources:])
database.executemany("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?)", kept)
database.commit()
for shard in range(256 if files else 0):
    os.makedirs(f"{store}/objects/{shard:02x}", exist_ok=True)
for name in sorted(names) if files else []:
    path = f"{store}/objects/{name.hex()[:2]}/{name.hex()[2:]}.644"
    with open(path, "wb") as file:
        file.write(b"x")
    os.utime(path, (315619200, 315619200))
P
}

measured() {
  local store=$1; shift
  command time -f "$*: %e s wall, %U s user, %S s system, peak %M KiB" "$conary" "$@" --store "$store" 2>&1 >/dev/null | tail -n 1
}

million() {
  say "1,000,000 objects, as rows: neither asks for files; nobody syncs"
  rows "$mine/million" 0 rows
  measured "$mine/million" store stats
  measured "$mine/million" gc --dry-run
}

collect() {
  say "1,000,000 objects with files of one byte, which take 4 GB where a block has 4 KiB; gc syncs what it must"
  rows "$mine/collect" 900000 files
  sync -f "$mine/collect"
  measured "$mine/collect" store stats
  echo "nothing but 100,000 objects is garbage:"
  measured "$mine/collect" gc
  echo "nothing is garbage:"
  measured "$mine/collect" gc
  python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("DELETE FROM sources"); d.commit()' "$mine/collect/store.db"
  echo "all 900,000 are:"
  measured "$mine/collect" gc
  [ "$(find "$mine/collect/objects" -type f | wc -l)" = 0 ] || { echo "files are left"; return 1; }
}

verify() {
  "$STORE" ingest "$mine/store" "$tree" >/dev/null
  say "verify, warm: A = Conary; B = b3sum's work alone, the same bytes hashed by the same library on all cores"
  "$pairs" -n "$count" "$STORE verify $mine/store" "$STORE hash $mine/store/objects"
}

sizes() {
  say "payload against a solid tar at level 6, over the packages in ${PACKAGES_DIR:-dist}"
  local package
  for package in "${PACKAGES_DIR:-dist}"/*.ccs; do
    rm -rf "$work/laid"
    "$conary" ccs extract "$package" "$work/laid" 2>/dev/null
    tar -C "$work/laid" --sort=name -cf - . | zstd -q -6 -c | wc -c
    "$conary" ccs inspect --json "$package" | python3 -c '
import json, sys
document = json.load(sys.stdin)
print(document["stored_bytes"], document["file_bytes"], document["name"])'
  done | python3 -c '
import sys
lines = sys.stdin.read().split("\n")
payload = solid = 0
for one, other in zip(lines[::2], lines[1::2]):
    stored, whole, name = other.split()
    payload, solid = payload + int(stored), solid + int(one)
    print(f"{name}: payload {stored}, solid {one}, ratio {int(stored) / int(one):.3f}, whole package {whole}")
print(f"all: payload {payload}, solid {solid}, ratio {payload / solid:.3f}")'
}

for part in "${@:-import}"; do "$part"; done
if [ $# = 0 ]; then checkout; packages; million; verify; fi
