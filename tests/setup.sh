#!/usr/bin/env bash
# Looks for what a command needs, before anything is compiled: `setup.sh run` for `make run`, `setup.sh test` for
# `make test` and `make check`. What is missing is installed where this machine's packages can be (Debian, Ubuntu) and
# named elsewhere. SETUP=no only names it.
set -euo pipefail
what=${1:?run or test}

has() { command -v "$1" >/dev/null 2>&1; }
has_postgres() { has initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }

debian=() named=()
has cc || { debian+=(gcc libc6-dev); named+=("a C compiler (cc)"); }
has make || { debian+=(make); named+=("make"); }
if [ "$what" = test ]; then
    has_postgres || { debian+=(postgresql); named+=("the server programs of PostgreSQL 15 or newer (initdb, postgres)"); }
    has xmllint || { debian+=(libxml2-utils); named+=("xmllint, of libxml2"); }
fi

toolchain() { # Rust comes from its own installer, which is no package: it is named, never run from here.
    local need=1.95 version
    if ! has "${CARGO:-cargo}"; then
        echo "Missing: Rust $need or newer. Install it from https://rustup.rs, then run make again." >&2
        exit 1
    fi
    version=$("${CARGO:-cargo}" --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$need" "$version" | sort -V | head -n1)" != "$need" ]; then
        echo "Rust $version is too old: $need or newer is needed. \`rustup update\` brings it." >&2
        exit 1
    fi
}

install() {
    local as=()
    [ "$(id -u)" = 0 ] || as=(sudo)
    echo "Installing ${debian[*]} (SETUP=no only names what is missing)." >&2
    local log
    log=$(mktemp)
    if ! { "${as[@]}" apt-get update && "${as[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${debian[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "That did not work; the whole output is in $log." >&2
        return 1
    fi
    rm -f "$log"
}

toolchain
[ ${#named[@]} -eq 0 ] && exit 0
can_install() { [ ${#debian[@]} -gt 0 ] && has apt-get && { [ "$(id -u)" = 0 ] || has sudo; }; }
if [ "$what" = test ] && [ "${SETUP:-yes}" != no ] && can_install && install; then
    exit 0
fi
echo "Missing:" >&2
printf '  %s\n' "${named[@]}" >&2
[ ${#debian[@]} -eq 0 ] || echo "On Debian or Ubuntu: apt-get install ${debian[*]}" >&2
exit 1
