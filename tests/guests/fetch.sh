#!/bin/sh
# Gets guests that other people wrote, so that they need not be kept in this repository.
#
# usage: tests/guests/fetch.sh [NAME]...        (default: all)
#   seabios   bios.bin, bios-256k.bin: a PC's firmware          Debian package seabios
# into $TRAPLINE_GUESTS, or target/guests of this checkout. What is there already is left alone; delete a file to get it anew.
# Needs Debian (apt-get, dpkg) and the network once; no root, nothing is installed.
# The SHA-256 printed says which build it was. It is not a check: a point release of Debian changes it.
set -eu
trouble() { echo "fetch.sh: $*" >&2; exit 1; }
root=$(cd "$(dirname "$0")/../.." && pwd)
case ${TRAPLINE_GUESTS:-} in '') guests=$root/target/guests;; /*) guests=$TRAPLINE_GUESTS;; *) guests=$root/$TRAPLINE_GUESTS;; esac
mkdir -p "$guests"

debian() { # PACKAGE FILE_IN_PACKAGE...: into the cache, under their last names. All or nothing, and safe beside another fetch.sh.
    package=$1; shift; have=yes
    for f in "$@"; do [ -s "$guests/${f##*/}" ] || have=''; done
    if [ -z "$have" ]; then
        command -v apt-get >/dev/null && command -v dpkg >/dev/null || trouble "$package: needs Debian's apt-get and dpkg; or put $(for f in "$@"; do printf '%s ' "${f##*/}"; done)into $guests yourself"
        work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; trap 'exit 130' INT TERM
        # apt drops to the user _apt when root calls it, who may not write here; harmless, but it says so at length.
        get() { (cd "$work" && apt-get download -q -o APT::Sandbox::User=root "$package") >"$work/log" 2>&1; }
        if ! get; then
            # Only a package list can be stale or missing; and only root can renew it.
            { [ "$(id -u)" = 0 ] && apt-get update -q >"$work/update" 2>&1 && get; } || {
                tail -3 "$work/log" >&2
                trouble "cannot download Debian's $package: is there a network? If apt does not know it: sudo apt-get update"; }
        fi
        dpkg -x "$work"/*.deb "$work/x"
        for f in "$@"; do
            [ -s "$work/x/$f" ] || trouble "Debian's $package has no $f any more"
            cp -L "$work/x/$f" "$guests/.${f##*/}.$$"; mv "$guests/.${f##*/}.$$" "$guests/${f##*/}"
        done
        rm -rf "$work"; trap - EXIT INT TERM
    fi
    for f in "$@"; do echo "$(sha256sum < "$guests/${f##*/}" | cut -d' ' -f1)  $guests/${f##*/}"; done
}

# A guest is a function of its name here and a word in this list.
all='seabios'
seabios() { debian seabios usr/share/seabios/bios.bin usr/share/seabios/bios-256k.bin; }

for name in ${*:-$all}; do
    case " $all " in *" $name "*) "$name";; *) trouble "no guest is called $name; there are: $all";; esac
done
