#!/bin/bash
# tests/bench/spine.sh
# Times the main job against its peers, in interleaved pairs (pairs.py): what docs/performance.md quotes.
#
#   tests/bench/spine.sh [noop|one-file|hello|install]...      all of them without a name
#
# Needs a release build ($CONARY, default target/release/conary), hyperfine is not needed. `noop` wants nix-build
# (Debian package nix-bin), `hello` wants the release tarball of GNU hello in $DISTFILES. Everything is written
# below one temporary directory on the file system of $TMPDIR; nothing is synced but what Conary itself syncs.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=$PWD
pairs="$here/tests/bench/pairs.py"
count=${PAIRS:-11}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The peers were installed, that is written; what the linker left in the page cache lies there in single pages (it
# writes through a map), and starting it costs a fifth more. An installed copy is what users start.
conary=$work/conary
install -m755 "${CONARY:-target/release/conary}" "$conary"

say() { printf '\n== %s\n' "$*"; }

noop() {
  say "no-op cook, 100 local files, against a cached nix-build of one file"
  mkdir -p "$work/noop/src"
  for i in $(seq 100); do echo "file $i" >"$work/noop/src/$i.txt"; done
  cat >"$work/noop/recipe.toml" <<'R'
[package]
name = "noop"
version = "1"
arch = ["any"]
[source]
path = "src"
[build]
install = "mkdir -p \"$DESTDIR/usr/share/noop\" && cp *.txt \"$DESTDIR/usr/share/noop\""
R
  local cook="$conary cook --store $work/store --output $work/dist $work/noop"
  $cook >/dev/null 2>&1
  sleep 2.1 # a file as young as its record is hashed again, as git does
  $cook >/dev/null 2>&1
  if command -v nix-build >/dev/null; then
    cat >"$work/one.nix" <<'N'
derivation { name = "one"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo one > $out" ]; }
N
    export NIX_CONFIG=$'build-users-group =\nsubstituters =\nsandbox = false'
    export NIX_STORE_DIR=$work/nix/store NIX_STATE_DIR=$work/nix/var NIX_LOG_DIR=$work/nix/log
    local nix="nix-build --no-out-link $work/one.nix"
    $nix >/dev/null
    "$pairs" -n "$count" "$cook" "$nix"
  else
    "$pairs" -n "$count" "$cook" "true"
  fi
  command time -f 'peak %M KiB' $cook >/dev/null
}

one_file() {
  say "one C file, sources at hand, key new each time, against the compiler alone"
  mkdir -p "$work/one/src"
  echo 'int main(void) { return 0; }' >"$work/one/src/one.c"
  cat >"$work/one/recipe.toml" <<'R'
[package]
name = "one"
version = "1"
[source]
path = "src"
[build]
make = "cc -O2 -o one one.c"
install = "install -Dm755 one \"$DESTDIR/usr/bin/one\""
R
  local cook="$conary cook --store $work/store --output $work/dist $work/one"
  local bare="cd $work/one/src && cc -O2 -o $work/one.out one.c && install -Dm755 $work/one.out $work/one.dest/usr/bin/one"
  $cook >/dev/null 2>&1
  "$pairs" -n "$count" --prepare-a "date +%s%N | sed 's|.*|int stamp = (int)&LL; int main(void) { return 0; }|' >$work/one/src/one.c" "$cook" "$bare"
}

hello() {
  say "GNU hello: cook without its check step, against configure, make and make install run bare"
  local archive="${DISTFILES:?name the directory that holds the hello tarball}"
  local file version
  version=$(sed -n 's|^version = "\(.*\)"|\1|p' recipes/cookbook/gnu-hello/recipe.toml)
  file=hello-$version.tar.gz
  $conary source add --store "$work/store" "$archive/$file" >/dev/null
  mkdir -p "$work/bare"
  local cook="$conary cook --force --no-check --jobs 2 --store $work/store --output $work/dist recipes/cookbook/gnu-hello"
  local steps="cd $work/bare && rm -rf hello-* out && tar -xf $archive/$file && cd hello-* && ./configure --prefix=/usr && make -j2 && make DESTDIR=$work/bare/out install"
  "$pairs" -n "$count" "$cook" "env -i PATH=/usr/bin:/bin LANG=C.UTF-8 sh -c '$steps'"
}

install_package() {
  say "install of 5,000 files, 100 MB, against tar -I zstd -x and sync"
  mkdir -p "$work/tree"
  python3 - "$work/tree" <<'P'
import os, random, sys
random.seed(5)
words = [bytes(random.choices(b"abcdefghijklmnopqrstuvwxyz", k=random.randint(2, 12))) for _ in range(4000)]
for i in range(5000):
    path = os.path.join(sys.argv[1], "usr/share/many", f"{i // 100:02}", f"{i:04}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    size = 20_000 + random.randint(-15_000, 15_000)
    text = b" ".join(random.choices(words, k=size // 7))
    with open(path, "wb") as file:
        file.write(text[:size])
P
  mkdir -p "$work/many"
  cp -a "$work/tree" "$work/many/src"
  cat >"$work/many/recipe.toml" <<'R'
[package]
name = "many"
version = "1"
arch = ["any"]
[source]
path = "src"
[build]
install = "cp -a usr \"$DESTDIR/\""
R
  $conary cook --store "$work/store" --output "$work/dist" "$work/many" >/dev/null 2>&1
  tar -C "$work/tree" -I 'zstd -3' -cf "$work/tree.tar.zst" .
  ls -l "$work/dist/many-1-1.any.ccs" "$work/tree.tar.zst"
  # Old trees are moved away, not removed: ext4 searches long for an inode among freshly deleted ones.
  local plain="$work/plain" root="$work/root" aside="$work/aside"
  mkdir -p "$aside"
  local fresh_plain="[ ! -e $plain ] || mv $plain $aside/plain.\$(date +%N); mkdir $plain; sync"
  local tar="tar -I zstd -xf $work/tree.tar.zst -C $plain && sync -f $plain"
  local install="$conary install --yes --root $root $work/dist/many-1-1.any.ccs"
  echo "-- from its file, into an empty root"
  "$pairs" -n "$count" --prepare-a "[ ! -e $root ] || mv $root $aside/root.\$(date +%N); sync" \
    --prepare-b "$fresh_plain" "$install" "$tar"
  echo "-- with its objects in the store that serves the root"
  "$pairs" -n "$count" --prepare-a "$conary remove --yes --root $root many; mv $root/usr $aside/usr.\$(date +%N) 2>/dev/null; sync" \
    --prepare-b "$fresh_plain" "$install" "$tar"
}

[ $# -gt 0 ] || set -- noop one-file hello install
for name; do
  case $name in
  noop) noop ;;
  one-file) one_file ;;
  hello) hello ;;
  install) install_package ;;
  *) echo "spine.sh: no benchmark named $name" >&2; exit 2 ;;
  esac
done
