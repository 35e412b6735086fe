#!/bin/sh
# tests/seed.sh: recipes cooked in a root made of troves only, over a real minimal Debian, as root and as a user.
#
# Usage: [SEED_ROOT=DIR] [RECIPES='hello …'] [CONARY=PROGRAM] [DISTFILES=DIR] tests/seed.sh
#
# The root is made by debootstrap from the mirror that this machine's apt uses, unless SEED_ROOT names one that is there. Must be run by
# root. Each recipe is cooked `--hermetic` by root and by an ordinary user, in directories and stores of different names; the packages
# must be equal byte for byte. Exit status 0: they are; 77: this machine cannot do it.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
conary=${CONARY:-$top/target/debug/conary}
recipes=${RECIPES:-hello}
[ "$(id -u)" = 0 ] || { echo "skipped: debootstrap needs root"; exit 77; }

work=$(mktemp -d "${TMPDIR:-/tmp}/conary-seed.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

root=${SEED_ROOT:-}
if [ -z "$root" ]; then
    command -v debootstrap >/dev/null || { echo "skipped: there is no debootstrap"; exit 77; }
    # The first binary source of apt: its address and suite.
    set -- $(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null | head -n 1)
    [ $# = 2 ] || { echo "skipped: apt has no sources"; exit 77; }
    root=$work/root
    debootstrap --variant=minbase --include=gcc,libc6-dev,make "$2" "$root" "$1" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log"; exit 1; }
fi

install -m 755 "$conary" "$work/conary"
user=nobody
id tester >/dev/null 2>&1 && user=tester
# Two identities, two places.
for place in "by-root" "a longer name, by a user"; do
    mkdir -p "$work/$place/work"
    cp -r "$top/recipes" "$work/$place/work/recipes"
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
for recipe in $recipes; do
    for who in root user; do
        if ! "by_$who" cook "$recipe" --hermetic --seed debian --output dist ${DISTFILES:+--distfiles "$DISTFILES"} >"$work/$who.log" 2>&1; then
            echo "$recipe: it cannot be cooked by $who"
            tail -n 15 "$work/$who.log"
            failed=1
            continue 2
        fi
    done
    if (cd "$work/by-root/work/dist" && sha256sum -- *.ccs) >"$work/sums" &&
        (cd "$work/a longer name, by a user/work/dist" && sha256sum --check --quiet "$work/sums"); then
        echo "$recipe: equal"
    else
        echo "$recipe: the packages differ"
        failed=1
    fi
    rm -rf "$work/by-root/work/dist" "$work/a longer name, by a user/work/dist"
done
exit "$failed"
