#!/bin/sh
# tests/seed.sh: recipes cooked in a root made of troves only, over a real minimal Debian, as root and as a user.
#
# Usage: [SEED_ROOT=DIR] [CONARY=PROGRAM] [DISTFILES=DIR] [COOKBOOK_CACHE=DIR] [COOK_OPTIONS='--no-check'] [KEEP=DIR] tests/seed.sh [NAME… | all]
#
# The root is made by debootstrap from the mirror that this machine's apt uses, unless SEED_ROOT names one that is there. Must be run by
# root. Each recipe, `hello` where none is named and the whole cookbook with `all`, is cooked `--hermetic` by root and by an ordinary user, in
# directories and stores of different names and with different numbers of jobs; the packages must be equal byte for byte. Archives are had as
# tests/cookbook.sh has them; KEEP is where packages go that differ. Exit status 0: all are equal; 77: this machine cannot do it.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
conary=${CONARY:-$top/target/debug/conary}
[ $# -gt 0 ] || set -- hello
[ "$(id -u)" = 0 ] || { echo "skipped: debootstrap needs root"; exit 77; }

work=$(mktemp -d "${TMPDIR:-/tmp}/conary-seed.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

root=${SEED_ROOT:-}
if [ -z "$root" ]; then
    command -v debootstrap >/dev/null || { echo "skipped: there is no debootstrap"; exit 77; }
    # The first binary source of apt: its address and suite.
    source=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null | head -n 1)
    [ -n "$source" ] || { echo "skipped: apt has no sources"; exit 77; }
    root=$work/root
    # Python, and not its minimal set of modules, is what ninja's build is written in.
    debootstrap --variant=minbase --include=gcc,g++,libc6-dev,make,python3 "${source#* }" "$root" "${source% *}" \
        >"$work/debootstrap.log" 2>&1 || { tail -n 5 "$work/debootstrap.log"; exit 1; }
fi

install -m 755 "$conary" "$work/conary"
user=nobody
id tester >/dev/null 2>&1 && user=tester
cache=${COOKBOOK_CACHE:-$work/cookbook}
mkdir -p "$cache"
CONARY=$work/conary COOKBOOK_CACHE=$cache COOKBOOK_STOP=archives bash "$top/tests/cookbook.sh" "$@" >"$work/archives.log" ||
    { tail -n 5 "$work/archives.log"; exit 1; }
sed -n 's/^.*skipped: /skipped: /p' "$work/archives.log"
recipes=$(cut -d ' ' -f 1 "$cache/cookable")
# Two identities, two places.
for place in "by-root" "a longer name, by a user"; do
    mkdir -p "$work/$place/work"
    while read -r name directory; do
        cp -r "$directory" "$work/$place/work/$name"
    done <"$cache/cookable"
    cp -r "$cache/distfiles" "$work/$place/distfiles"
done
chown -R "$user" "$work/a longer name, by a user"

by_root() { (cd "$work/by-root/work" && "$work/conary" "$@" --store "$work/by-root/store"); }
by_user() {
    (cd "$work/a longer name, by a user/work" && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups \
        env -i PATH=/usr/bin:/bin HOME="$work/a longer name, by a user" "$work/conary" "$@" --store "$work/a longer name, by a user/other store")
}

tar -C "$root" --exclude=./proc/* --exclude=./sys/* -cf "$work/root.tar" .
chmod 644 "$work/root.tar"
one=$(by_root seed import debian "$root")
other=$(by_user seed import debian "$work/root.tar")
rm "$work/root.tar"
[ "$one" = "$other" ] || { echo "the directory and its tarball are not the same seed: $one, $other"; exit 1; }
echo "seed $one"

failed=0
count=0
for recipe in $recipes; do
    jobs=1
    for who in root user; do
        jobs=$((jobs + 1))
        # A relative path: each has its own.
        if ! "by_$who" cook "$recipe" --hermetic --seed debian --jobs "$jobs" --output dist --offline --distfiles ../distfiles ${COOK_OPTIONS:-} \
            >"$work/$who.log" 2>&1; then
            echo "$recipe: it cannot be cooked by $who"
            tail -n 15 "$work/$who.log"
            failed=$((failed + 1))
            continue 2
        fi
    done
    if (cd "$work/by-root/work/dist" && sha256sum -- *.ccs) >"$work/sums" &&
        (cd "$work/a longer name, by a user/work/dist" && sha256sum --check --quiet "$work/sums"); then
        echo "$recipe: equal"
        count=$((count + 1))
    else
        echo "$recipe: the packages differ"
        failed=$((failed + 1))
        [ -z "${KEEP:-}" ] || { mkdir -p "$KEEP/root" "$KEEP/user" && cp "$work/by-root/work/dist"/* "$KEEP/root" && cp "$work/a longer name, by a user/work/dist"/* "$KEEP/user"; }
    fi
    rm -rf "$work/by-root/work/dist" "$work/a longer name, by a user/work/dist"
done
echo "$count equal, $failed not"
[ "$failed" = 0 ]
