# Sourced by bench.sh and compare.sh, after they have read their own variables: servers and a throwaway PostgreSQL under
# test. Everything is written to $folder, which goes in the end, however that comes. Takes the port from $port; the
# gateway has the next one.

folder=$(mktemp -d "${TMPDIR:-/tmp}/tongbao-bench-XXXXXX")
server=
gateway=
cluster=

# PostgreSQL refuses to run as root.
user=
if [ "$(id -u)" = 0 ]; then
    for name in postgres nobody; do
        if id "$name" >/dev/null 2>&1; then user=$name; break; fi
    done
fi
as_user() { if [ -n "$user" ]; then runuser -u "$user" -- "$@"; else "$@"; fi; }

# end PID [SIGNAL]: ends one of our own processes.
end() {
    # Its own status, as within a trap it would be that of what was trapped.
    if [ -z "$1" ]; then return 0; fi
    kill -"${2:-TERM}" "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
stop_server() { end "$server"; server=; }

clear_up() {
    stop_server
    end "$gateway"
    if [ -n "$cluster" ]; then as_user "$cluster/pg_ctl" -D "$folder/pg/data" -m immediate stop >/dev/null 2>&1 || true; fi
    rm -rf "$folder"
}
trap clear_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n--- %s\n' "$*"; }

# A variable of the person who calls this must not decide what is measured.
for name in $(compgen -e | grep '^TONGBAO_' || true); do unset "$name"; done
export TONGBAO_SERVER__LISTEN=127.0.0.1:$port
export TONGBAO_SERVER__PUBLIC_URL=http://127.0.0.1:$port
export TONGBAO_GATEWAY__LISTEN=127.0.0.1:$((port + 1))
export TONGBAO_LOG__FILTER=warn
for name in WECHAT ALIPAY UNIONPAY STRIPE; do export "TONGBAO_CHANNELS__${name}__ENABLED=true"; done
ulimit -n "$(ulimit -Hn)"

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

check_ports() {
    if listens "$port" || listens $((port + 1)); then
        echo "port $port or $((port + 1)) is taken; choose another" >&2
        exit 1
    fi
}

# await PID PORT LOG: until a process of ours listens.
await() {
    for _ in $(seq 200); do
        if listens "$2"; then return; fi
        if ! kill -0 "$1" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "it does not start:" >&2
    tail -n 20 "$3" >&2
    exit 1
}

# launch BINARY NAME URL [VARIABLE=VALUE…]: a server on the folder of this name, and the store at URL or else the embedded
# one there.
launch() {
    local binary=$1 name=$2 url=$3
    shift 3
    env TONGBAO_DATA__DIR="$folder/$name" TONGBAO_STORE__URL="$url" "$@" "$binary" serve 2>>"$folder/$name.log" &
    server=$!
}

start_server() {
    check_ports
    launch "$@"
    await "$server" "$port" "$folder/$2.log"
}

# platform BINARY NAME URL ARGUMENT…: `tongbao platform` for the server that runs on the folder of this name.
platform() {
    local binary=$1 name=$2 url=$3
    shift 3
    env TONGBAO_DATA__DIR="$folder/$name" TONGBAO_STORE__URL="$url" "$binary" platform "$@"
}

# sellers BINARY NAME URL COUNT: makes so many platforms; $folder/NAME.sellers is what --platforms reads.
sellers() {
    local number
    for number in $(seq "$4"); do platform "$1" "$2" "$3" create "seller-$number"; done | awk '$1 == "key" { key = $2 } $1 == "webhook" { print key, $3 }' >"$folder/$2.sellers"
}

# takers BINARY NAME URL COUNT: makes so many platforms, which agree to get shares of platform-a's orders.
takers() {
    local number
    for number in $(seq "$4"); do
        platform "$1" "$2" "$3" create "taker-$number"
        platform "$1" "$2" "$3" accept-shares "taker-$number" --from platform-a
    done >/dev/null
}

# taker_names COUNT: as --split-to reads them.
taker_names() { seq -s , -f 'taker-%g' "$1"; }

# A throwaway cluster with a Unix socket and the defaults otherwise; false where there are no programs for it.
start_postgres() {
    local programs
    programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$programs" ] && command -v initdb >/dev/null; then programs=$(dirname "$(command -v initdb)"); fi
    if [ -z "$programs" ] || [ ! -x "$programs/initdb" ]; then return 1; fi
    mkdir "$folder/pg"
    if [ -n "$user" ]; then
        chmod 711 "$folder"
        chown "$user" "$folder/pg"
    fi
    as_user "$programs/initdb" -D "$folder/pg/data" -U tongbao -A trust >"$folder/initdb.log" 2>&1 \
        || { cat "$folder/initdb.log" >&2; exit 1; }
    cluster=$programs
    as_user "$programs/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w \
        -o "-c listen_addresses= -c unix_socket_directories=$folder/pg" start >/dev/null || { cat "$folder/pg/log" >&2; exit 1; }
}
make_database() { as_user "$cluster/createdb" -h "$folder/pg" -U tongbao "$1"; }
drop_database() { as_user "$cluster/dropdb" -h "$folder/pg" -U tongbao "$1"; }
database_url() { echo "postgres://tongbao@${folder//\//%2F}%2Fpg/$1"; }
postmaster() { head -n 1 "$folder/pg/data/postmaster.pid"; }

# What a commit waits for at least; a busy disk explains much of a bad run.
tell_machine() {
    local flushes=200
    say "$(nproc) processors, $(uname -sr), $(date -u +%F)"
    LC_ALL=C dd if=/dev/zero of="$folder/flush" bs=4k count=$flushes oflag=dsync 2>&1 | awk -v flushes=$flushes '
        / s, / { for (i = 2; i <= NF; i++) if ($i == "s,") printf "a 4 KiB write, forced to this disk: %.2f ms\n", $(i - 1) * 1000 / flushes }'
}
