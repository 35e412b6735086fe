# tests/bench/places.sh
# Where the two sides of a pair write, for the benchmarks that source this file with $work set: $mine for Conary, $theirs for the other.
#
# ext4 makes files slowly on a disk where others were deleted in the last minutes: it looks at each of those inodes again and again. dpkg and nix
# delete while they work. So that each side pays for what it does itself alone, root gives each an ext4 of its own, in a file below
# $work; what is in the way is moved aside, and goes with the whole. The file is read and written past the page cache, which has
# the blocks once already, as it has those of a disk.

mine=$work/mine theirs=$work/theirs

leave_places() {
  umount "$mine" "$theirs" 2>/dev/null || true
  rm -rf "$mine" "$theirs" "$work"/{mine,theirs}.ext4
}

make_places() {
  local place
  mkdir -p "$mine" "$theirs"
  if [ "$(id -u)" = 0 ]; then
    for place in "$mine" "$theirs"; do
      truncate -s 40G "$place.ext4"
      mkfs.ext4 -q -N 1500000 -E lazy_itable_init=0,lazy_journal_init=0 "$place.ext4"
      mount -o loop "$place.ext4" "$place"
      losetup --direct-io=on "$(findmnt -n -o SOURCE "$place")"
    done
  fi
  mkdir "$mine/old" "$theirs/old"
}

# The words of a shell that move a path aside: aside PATH
aside() { echo "f() { ! test -e \$1 || mv \$1 $(dirname "$1")/old/\$(date +%s%N); }; f $1"; }
