#!/usr/bin/env bash
# tests/cookbook.sh: cooks recipes of the cookbook from real release archives, and installs, runs and removes what comes out.
#
#   CONARY=target/release/conary tests/cookbook.sh [NAME... | all]
#
# Without names it cooks a few packages; with `all`, every recipe whose archive can be had here.
# An archive is taken from $DISTFILES, a directory, where a file in it has the recipe's SHA-256. Else it comes from the
# distribution that this machine installs from, where a source package carries upstream's archive unmodified, which is to
# say: under the recipe's SHA-256; or it is made again, byte for byte, from a packaging of all its files. Of a few releases
# there is only the distribution's repack, without files that it does not distribute: from that one the recipe's steps are
# cooked all the same, and the output says so. What nobody has is skipped and named. COOKBOOK_CACHE keeps downloads and work
# between runs. With COOKBOOK_STOP=archives nothing is cooked: the archives are in $COOKBOOK_CACHE/distfiles, and each line of
# $COOKBOOK_CACHE/cookable is a name and the directory of its recipe, those that others need first.

set -euo pipefail
export LC_ALL=C.UTF-8

readonly HERE=$(cd "$(dirname "$0")/.." && pwd)
readonly COOKBOOK=$HERE/recipes/cookbook
readonly CONARY=$(realpath "${CONARY:-$HERE/target/release/conary}")
readonly DEFAULT=(hello gnu-hello bzip2 zlib sed bash)
# SHA-256 of what a distribution repacked, and what it took out that the build looks for.
declare -rA REPACKED=(
    [bash]=370704c9c859f4060b7df19055e43bb9b5fa09d887699cf6ba87885c5485d36a
    [gawk]=3b2a95bc6de68e2dc833ce547e366d62001274f8b892c6424f34f70d321cda70
    [make]=3b16b00ea1079af9f8096bbc71ff7cc00c249fc6a862003da3c42308a0adb0fe
    [tar]=9ae57e981c1e73c0eebc2b26c9b0c4497fe310ef1d516ea430efb5470b71f7a8
    [zstd]=0c092ef267edce57ba7f3f2645c861f72eaf5e76273c6c3632869423464b90a5
)
declare -rA TAKEN_OUT=(
    [gawk]="doc/pm-gawk.texi doc/gawkinet.info doc/gawkinet.texi doc/gawk.texi doc/pm-gawk.info doc/gawkworkflow.texi doc/gawkworkflow.info doc/gawk.info"
    [make]="doc/Makefile.in doc/make.1"
)
readonly STARTED=$SECONDS

WORK=${COOKBOOK_CACHE:-}
if [ -z "$WORK" ]; then
    WORK=$(mktemp -d)
    trap 'chmod -R u+rwX "$WORK" 2>/dev/null; rm -rf "$WORK"' EXIT
fi
readonly WORK
readonly DIST=$WORK/dist STORE=$WORK/store FILES=$WORK/distfiles
mkdir -p "$DIST" "$FILES"

passed=0
skipped=()

say() { printf '%4ds  %s\n' $((SECONDS - STARTED)) "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; printf '%d passed, 1 failed, %d skipped\n' "$passed" "${#skipped[@]}"; exit 1; }
ok() { passed=$((passed + 1)); say "ok    $*"; }

# What a recipe says. These are one-line values, and all of them stand on a line of their own.
value() { sed -n "/^$2 = \"/{s/^$2 = \"\(.*\)\"\$/\1/p;q}" "$COOKBOOK/$1/recipe.toml"; }
checksum() { value "$1" checksum | sed 's/^sha256://'; }
needs() { sed -n 's/^\(requires\|makedepends\) = \[\(.*\)\]$/\2/p' "$COOKBOOK/$1/recipe.toml" | tr ',' '\n' | tr -d '" '; }

# --- which recipes, those they need first ---------------------------------------------------------------------

order=()
declare -A planned=()
plan() {
    local name=$1 need
    [ -z "${planned[$name]:-}" ] || return 0
    [ -f "$COOKBOOK/$name/recipe.toml" ] || fail "there is no recipe named $name"
    planned[$name]=1
    for need in $(needs "$name"); do plan "$need"; done
    order+=("$name")
}

if [ $# -eq 0 ]; then set -- "${DEFAULT[@]}"; fi
if [ "$*" = all ]; then
    for recipe in "$COOKBOOK"/*/recipe.toml; do plan "$(basename "$(dirname "$recipe")")"; done
else
    for name in "$@"; do plan "$name"; done
fi
say "recipes: ${order[*]}"

# --- archives ---------------------------------------------------------------------------------------------------

# Asks the configured distribution, with directories of its own, which source packages there are.
apt_ready=no
prepare_apt() {
    [ "$apt_ready" = no ] || return 0
    command -v apt-get >/dev/null || return 1
    local apt=$WORK/apt repository release keyring=/usr/share/keyrings/debian-archive-keyring.gpg options='' seen=' '
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    [ ! -f $keyring ] || options="[signed-by=$keyring] "
    while read -r repository release; do
        case "$release" in *-*) continue ;; esac
        for release in "$release" bookworm trixie sid; do
            case "$seen" in *" $repository$release "*) continue ;; esac
            seen="$seen$repository$release "
            echo "deb-src $options$repository $release main non-free"
        done
    done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u) > "$apt/sources.list"
    cat > "$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
END
    say "reading the lists of source packages"
    APT_CONFIG=$apt/apt.conf apt-get -qq update || return 1
    # One line for each file: its SHA-256 and where it is.
    APT_CONFIG=$apt/apt.conf apt-get indextargets --format '$(FILENAME) $(REPO_URI)' 'Created-By: Sources' |
        while read -r index repository; do
            /usr/lib/apt/apt-helper cat-file "$index" | awk -v repository="$repository" '
                /^Directory: / { directory = $2 }
                /^[^ ]/ { hashes = ($1 == "Checksums-Sha256:") }
                /^ / && hashes && $3 ~ /\.orig\.tar\.[a-z0-9]+$/ { file[++count] = $1 " " $3 }
                /^$/ { flush() }
                END { flush() }
                function flush(  i, part) {
                    for (i = 1; i <= count; i++) { split(file[i], part, " "); print part[1], repository directory "/" part[2] }
                    count = 0; directory = ""
                }'
        done | sort -u > "$apt/files"
    apt_ready=yes
}

# Leaves the archive of a recipe in $FILES, under the name that upstream gives it, or fails.
obtain() {
    local name=$1 wanted file from
    wanted=$(checksum "$name")
    file=$FILES/$(basename "$(value "$name" archive | sed -e "s/%(version)s/$(value "$name" version)/g" -e "s/%(tag)s/$(value "$name" tag)/g")")
    has() { [ -f "$1" ] && [ "$(sha256sum < "$1")" = "$wanted  -" ]; }
    if has "$file"; then return 0; fi
    if [ -n "${DISTFILES:-}" ]; then
        for from in "$DISTFILES"/*; do
            if has "$from"; then cp "$from" "$file"; return 0; fi
        done
    fi
    if declare -F "make_$name" > /dev/null && "make_$name" "$file" && has "$file"; then return 0; fi
    rm -f "$file"
    download "$wanted" "$file"
}

# A package of bindings carries sqlite's archive as it is.
make_sqlite() {
    command -v npm > /dev/null || return 1
    (cd "$WORK" && npm pack --silent sqlite3@5.1.7 > /dev/null && tar -xzf sqlite3-5.1.7.tgz -O package/deps/sqlite-autoconf-3440200.tar.gz) > "$1"
}

# A crate of bindings carries every file of zlib's tag, and the archive is what GitHub makes of the tag.
make_zlib() {
    local crate=$WORK/crate tree
    command -v cargo > /dev/null || return 1
    mkdir -p "$crate/src"
    : > "$crate/src/lib.rs"
    printf '%s\n' '[package]' 'name = "archives"' 'version = "0.0.0"' '[dependencies]' 'libz-sys = "=1.1.16"' '[workspace]' > "$crate/Cargo.toml"
    tree=$(cargo metadata --quiet --format-version 1 --manifest-path "$crate/Cargo.toml" |
        sed -n 's|.*"manifest_path":"\([^"]*/libz-sys-1.1.16\)/Cargo.toml".*|\1/src/zlib|p')
    [ -d "$tree" ] || return 1
    archive_of_tag "$tree" zlib-1.3.1/ 51b7f2abdade71cd9bb0e7a373ef2610ec6f9daf 1705948357 | gzip -n > "$1"
}

# Upstream packs zstd's tag itself, so that the file that was compressed has a name and a time. The files that are missing from the
# distribution's repack are in another package, which carries zstd.
make_zstd() {
    local tree=$WORK/zstd zstd='*/third-party/zstd'
    rm -rf "$tree"
    mkdir -p "$tree"
    download "${REPACKED[zstd]}" "$WORK/zstd.orig" || return 1
    download 91112631d553a1dcc925d0a62ce8a131c69c4aba5e9325a7f350c72b045e945f "$WORK/mold.orig" || return 1
    tar -xf "$WORK/zstd.orig" -C "$tree" --strip-components=1
    tar -xf "$WORK/mold.orig" -C "$tree" --strip-components=3 --wildcards \
        "$zstd"/{.buckconfig,.buckversion,.cirrus.yml,'build/VS*',programs/windres}
    archive_of_tag "$tree" zstd-1.5.7/ f8745da6ff1ad1e7bab384bd1f9d742439278e99 1739923464 > "$WORK/zstd-1.5.7.tar"
    touch -d @1740001832 "$WORK/zstd-1.5.7.tar"
    gzip -9 -c "$WORK/zstd-1.5.7.tar" > "$1"
}

# Writes what `git archive` makes of a commit of which the files, the id and the time are known: that of a commit of ours with the
# same files and time, with the id changed, which stands behind the first header.
archive_of_tag() {
    local tree=$1 prefix=$2 commit=$3 seconds=$4 archive=$WORK/tag.tar
    (
        export GIT_DIR=$WORK/tag.git GIT_WORK_TREE=$tree GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
        export GIT_{AUTHOR,COMMITTER}_NAME=- GIT_{AUTHOR,COMMITTER}_EMAIL=- GIT_{AUTHOR,COMMITTER}_DATE="$seconds +0000"
        rm -rf "$GIT_DIR"
        git init -q
        echo '* -text -export-subst -export-ignore' > "$GIT_DIR/info/attributes"
        git add --all --force "$tree"
        git archive --prefix="$prefix" --output="$archive" "$(git commit-tree -m - "$(git write-tree)")"
    )
    printf %s "$commit" | dd of="$archive" bs=1 seek=523 conv=notrunc status=none
    cat "$archive"
}

# Brings the file with this SHA-256 from the distribution.
download() {
    local wanted=$1 file=$2 url
    [ ! -f "$file" ] || [ "$(sha256sum < "$file")" != "$wanted  -" ] || return 0
    prepare_apt || return 1
    while read -r url; do
        APT_CONFIG=$WORK/apt/apt.conf /usr/lib/apt/apt-helper -qq download-file "$url" "$file" "SHA256:$wanted" > /dev/null 2>&1 || continue
        [ "$(sha256sum < "$file")" != "$wanted  -" ] || return 0
    done < <(sed -n "s/^$wanted //p" "$WORK/apt/files")
    return 1
}

# Makes a copy of a recipe that takes the distribution's repack of the same release.
declare -A recipe_of=()
repacked() {
    local name=$1 sum file archive="$WORK/repacked/$1.tar" tree="$WORK/repacked/tree"
    [ -n "${REPACKED[$name]:-}" ] || return 1
    rm -rf "$tree" "$WORK/repacked/$name"
    mkdir -p "$tree" "$WORK/repacked/$name"
    sum=${REPACKED[$name]}
    download "$sum" "$WORK/repacked/$sum" || return 1
    tar -xf "$WORK/repacked/$sum" -C "$tree" --strip-components=1
    for file in ${TAKEN_OUT[$name]:-}; do
        mkdir -p "$(dirname "$tree/$file")"
        printf 'all check install install-data:\n\t@:\n' > "$tree/$file"
        # A time that does not change, so that the archive is the same each time.
        touch -r "$tree/configure" "$tree/$file"
    done
    tar -cf "$archive" --sort=name --owner=0 --group=0 --numeric-owner --transform="s|^\.|$name|" -C "$tree" .
    cp -a "$COOKBOOK/$name/." "$WORK/repacked/$name/"
    sum=$(sha256sum < "$archive")
    sed -e "s|^archive = .*|archive = \"file://$archive\"|" -e "s|^checksum = .*|checksum = \"sha256:${sum%% *}\"|" \
        -e '/^mirrors = /d' "$COOKBOOK/$name/recipe.toml" > "$WORK/repacked/$name/recipe.toml"
    recipe_of[$name]=$WORK/repacked/$name
}

cookable=()
declare -A missing=()
for name in "${order[@]}"; do
    lacking=
    for need in $(needs "$name"); do [ -z "${missing[$need]:-}" ] || lacking=$need; done
    if [ -n "$lacking" ]; then
        missing[$name]=1 skipped+=("$name")
        say "skipped: $name needs $lacking"
    elif [ -z "$(value "$name" archive)" ]; then
        cookable+=("$name")
    elif obtain "$name"; then
        cookable+=("$name")
        say "have  $name: sha256:$(checksum "$name")"
    elif repacked "$name"; then
        cookable+=("$name")
        say "have  $name: not upstream's archive but the distribution's repack of it, ${REPACKED[$name]}"
    else
        missing[$name]=1 skipped+=("$name")
        say "skipped: $name, whose archive nobody here has unmodified"
    fi
done
[ ${#cookable[@]} -gt 0 ] || fail "no archive could be had"
for name in "${cookable[@]}"; do echo "$name ${recipe_of[$name]:-$COOKBOOK/$name}"; done > "$WORK/cookable"
[ "${COOKBOOK_STOP:-}" != archives ] || exit 0

# --- cook -------------------------------------------------------------------------------------------------------

if compgen -G "$FILES/*" > /dev/null; then
    "$CONARY" source add --store "$STORE" "$FILES"/* > "$WORK/story" 2>&1 || { cat "$WORK/story" >&2; fail "conary source add"; }
fi
# No network: what was not added was not obtained.
cook() { "$CONARY" cook --offline --store "$STORE" --output "$DIST" "${recipe_of[$1]:-$COOKBOOK/$1}"; }
packages=()
for name in "${cookable[@]}"; do
    began=$SECONDS
    cook "$name" > "$WORK/spec" 2> "$WORK/story" ||
        { cat "$WORK/story" >&2; fail "cooking $name"; }
    package=$(ls "$DIST/$name-$(value "$name" version)-$(value "$name" release)".*.ccs 2>/dev/null) || fail "$name left no package in $DIST"
    packages+=("$package")
    spent=$(sed -n 's/.*Built .* (\(.* processor time\))$/, \1/p' "$WORK/story")
    ok "cooked $(cat "$WORK/spec") in $((SECONDS - began)) s$spent, $(stat -c %s "$package") bytes"
done
for name in "${cookable[@]}"; do
    case "$(cook "$name" 2>&1 >/dev/null)" in *Fresh*) ;; *) fail "cooking $name again was not a hit" ;; esac
done
ok "every second cook is a hit"
if command -v python3 >/dev/null; then
    python3 "$HERE/tests/second_reader.py" "${packages[@]}" > "$WORK/story" 2>&1 || { cat "$WORK/story" >&2; fail "the second reader"; }
    ok "the second reader agrees about ${#packages[@]} packages"
else
    [ -z "${CI:-}" ] || fail "there is no python3 for the second reader"
    say "      no python3: the second reader was not asked"
fi

# --- install all of them into one root --------------------------------------------------------------------------

readonly ROOT=$WORK/root
rm -rf "$ROOT"
mkdir -p "$ROOT"/usr/{bin,lib,lib64,sbin} "$ROOT"/{etc,dev,tmp}
for link in bin lib lib64 sbin; do ln -s "usr/$link" "$ROOT/$link"; done
echo 'a file of the root itself' > "$ROOT/etc/motd"
# The host's C library and its loader, as plain files: no recipe of the cookbook makes them.
for library in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libgcc_s.so.1 libstdc++.so.6; do
    path=$(cc -print-file-name="$library")
    [ "$path" = "$library" ] || { path=$(realpath "$path"); install -D "$path" "$ROOT/$(dirname "$path")/$library"; }
done
loader=$(readelf -l "$(command -v ls)" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
cp -L "$loader" "$ROOT$loader"

# Everything about a root that a package could change, its own records aside.
picture() {
    (cd "$ROOT" && find . -path ./var/lib/conary -prune -o -path ./var/lib -prune -o -path ./var -prune -o \
        \( -type f -printf '%P %y %m %U %G %n %s ' -exec sh -c 'sha256sum < "$1"' _ {} \; \) -o -printf '%P %y %m %U %G %l\n' | sort)
}
picture > "$WORK/before"

"$CONARY" install --root "$ROOT" --yes "${packages[@]}" > "$WORK/story" 2>&1 || { cat "$WORK/story" >&2; fail "installing ${cookable[*]}"; }
ok "installed ${#cookable[@]} packages together: $(find "$ROOT/usr" -not -type d | wc -l) files"
"$CONARY" verify --root "$ROOT" > "$WORK/story" 2>&1 || { cat "$WORK/story" >&2; fail "verify after install"; }
ok "the root verifies"

# --- run them there ---------------------------------------------------------------------------------------------

# Every library that a program or library of the root asks for has to be in the root.
find "$ROOT/usr/" -name 'lib*.so*' -printf '%f\n' -o -name 'ld-*.so*' -printf '%f\n' | sort -u > "$WORK/libraries"
{ find "$ROOT/usr/bin" "$ROOT/usr/lib" -type f \( -perm -u+x -o -name 'lib*.so*' \) -exec readelf -d {} + 2>/dev/null || true; } |
    sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | comm -23 - "$WORK/libraries" > "$WORK/unmet"
[ ! -s "$WORK/unmet" ] || { cat "$WORK/unmet" >&2; fail "the root lacks libraries"; }
ok "every needed library is in the root"

chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)
inside() {
    if [ "$(id -u)" = 0 ]; then env -i PATH=/usr/bin TERM=dumb "$chroot" "$ROOT" "$@"
    else env -i PATH=/usr/bin TERM=dumb "$(command -v unshare)" --user --map-root-user "$chroot" "$ROOT" "$@"; fi
}
expect() {
    local wanted=$1 said
    shift
    said=$(inside "$@" 2>&1 < /dev/null) || fail "$* in the root: $said"
    case "$said" in *"$wanted"*) ok "in the root, $* says: ${said%%$'\n'*}" ;; *) fail "$* in the root said: $said" ;; esac
}
for name in "${cookable[@]}"; do
    version=$(value "$name" version)
    case $name in
        hello) expect "Hello, cook!" hello cook ;;
        gnu-hello) expect "Hello, world!" gnu-hello ;;
        bash) expect works bash -c 'echo works' ;;
        bzip2) expect "Version $version" bzip2 --help ;;
        expat) expect "expat_$version" xmlwf -v ;;
        gawk) expect 42 gawk 'BEGIN { print 6 * 7 }' ;;
        libarchive) expect "bsdtar $version" bsdtar --version ;;
        mawk) expect 42 mawk 'BEGIN { print 6 * 7 }' ;;
        ncurses) expect xterm-256color infocmp xterm-256color ;;
        sqlite) expect 42 sqlite3 :memory: 'select 6 * 7' ;;
        zsh) expect works zsh -c 'print works' ;;
        libffi | lzo | readline | zlib) ;; # libraries alone
        *) expect "$version" "${name}" --version ;;
    esac
done

# --- remove all of them -----------------------------------------------------------------------------------------

"$CONARY" remove --root "$ROOT" --yes "${cookable[@]}" > "$WORK/story" 2>&1 || { cat "$WORK/story" >&2; fail "removing ${cookable[*]}"; }
picture > "$WORK/after"
diff "$WORK/before" "$WORK/after" >&2 || fail "the root is not as it was"
ok "removed all of them, and the root is as it was"

[ ${#skipped[@]} -eq 0 ] || say "skipped: ${skipped[*]}"
say "done in $((SECONDS - STARTED)) s"
printf '%d passed, 0 failed, %d skipped\n' "$passed" "${#skipped[@]}"
