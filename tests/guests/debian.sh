# What the scripts beside this one share: Debian's packages. Sourced, by sh.
trouble() { echo "${0##*/}: $*" >&2; exit 1; }

missing=''
need() { # COMMAND_OR_HEADER PACKAGE: notes the package where it is not there yet
    case $1 in /*) [ -e "$1" ];; *) command -v "$1" >/dev/null;; esac || missing="$missing $2"
}
install_missing() { # PURPOSE: all that was noted; root installs it, others are told the one line to type
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || trouble "$1: install what is missing, then try again: sudo apt-get install --no-install-recommends$missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing; } >"$log" 2>&1 ||
        { tail -3 "$log" >&2; rm -f "$log"; trouble "$1: cannot install$missing"; }
    rm -f "$log"; missing=''
}

# A package's name may depend on Debian's lists (which kernel is the cloud's today), so it is asked for anew after each update.
same() { echo "$1"; }
unpack() { # DIRECTORY PACKAGE [NAMER]: downloads the package that NAMER makes of PACKAGE, and unpacks it there. No root.
    directory=$1 package=$2 namer=${3:-same}
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || trouble "$package: needs Debian's apt-get and dpkg"
    # apt drops to the user _apt when root calls it, who may not write here; harmless, but it says so at length.
    get() { today=$("$namer" "$package") && [ -n "$today" ] &&
        (cd "$directory" && apt-get download -q -o APT::Sandbox::User=root "$today"); }
    if ! get >"$directory/log" 2>&1; then
        # Only a package list can be stale or missing; and only root can renew it.
        { [ "$(id -u)" = 0 ] && apt-get update -q >"$directory/update" 2>&1 && get >"$directory/log" 2>&1; } || {
            tail -3 "$directory/log" >&2
            trouble "cannot download Debian's $package: is there a network? If apt does not know it: sudo apt-get update"; }
    fi
    dpkg -x "$directory"/*.deb "$directory"; rm -f "$directory"/*.deb
}
