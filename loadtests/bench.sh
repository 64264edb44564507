#!/usr/bin/env bash
# Six minutes of load on a fresh server, on SQLite and then on a throwaway PostgreSQL; one table at the end.
#
# Needs target/release/tongbao and target/release/tongbao-load (`make bench` builds them) and, for the second half, the
# server programs of PostgreSQL. Everything is written to a temporary folder, which goes in the end, however that comes.
# The exit code is 1 when a run found something lost, books that differ, or could not be made. Missed targets are shown.
#
#   TONGBAO_BENCH_BIN     where the binaries are (target/release)
#   TONGBAO_BENCH_PORT    the server's port (18480); the gateway has the next one
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(realpath "${TONGBAO_BENCH_BIN:-target/release}")
port=${TONGBAO_BENCH_PORT:-18480}
folder=$(mktemp -d "${TMPDIR:-/tmp}/tongbao-bench-XXXXXX")
server=
cluster=
failed=0

# PostgreSQL refuses to run as root.
user=
if [ "$(id -u)" = 0 ]; then
    for name in postgres nobody; do
        if id "$name" >/dev/null 2>&1; then user=$name; break; fi
    done
fi
as_user() { if [ -n "$user" ]; then runuser -u "$user" -- "$@"; else "$@"; fi; }

stop_server() {
    if [ -z "$server" ]; then return; fi
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

clear_up() {
    stop_server
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
for channel in WECHAT ALIPAY UNIONPAY STRIPE; do export "TONGBAO_CHANNELS__${channel}__ENABLED=true"; done
ulimit -n "$(ulimit -Hn)"

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# start_server NAME [URL]: a fresh folder, and the store at URL or else an embedded one.
start_server() {
    if listens "$port" || listens $((port + 1)); then
        echo "port $port or $((port + 1)) is taken; set TONGBAO_BENCH_PORT" >&2
        exit 1
    fi
    TONGBAO_DATA__DIR=$folder/$1 TONGBAO_STORE__URL=${2:-} "$bin/tongbao" serve 2>"$folder/$1.log" &
    server=$!
    for _ in $(seq 200); do
        if listens "$port"; then return; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "the server does not start:" >&2
    tail -n 20 "$folder/$1.log" >&2
    exit 1
}

# run NAME URL COMMAND…: one scenario on a server of its own, so that none pays for what another left.
run() {
    local name=$1 url=$2
    shift 2
    say "$name: tongbao-load $*"
    start_server "$name" "$url"
    "$bin/tongbao-load" "$@" --target "http://127.0.0.1:$port" --gateway "http://127.0.0.1:$((port + 1))" \
        | tee "$folder/$name.txt" || failed=1
    stop_server
    rm -rf "${folder:?}/$name"
}

# cell NAME ROUND COLUMN: the median over the rounds of this name in the first table of a run.
cell() {
    sed -e 's/│/|/g' -e 's/┆/|/g' "$folder/$1.txt" | awk -F '|' -v round="$2" -v column="$3" '
        { name = $2; gsub(/ /, "", name); value = $column; gsub(/ /, "", value) }
        name == round { print value }' | sort -n | awk '
        { value[NR] = $1 } END { if (NR) print value[int((NR + 1) / 2)]; else print "-" }'
}
rate() { cell "$1" "$2" 5; }
server_us() { cell "$1" "$2" 6; }
p50() { cell "$1" "$2" 11; }
p99() { cell "$1" "$2" 12; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0 && a != "-") printf "%.2f", a / b; else printf "-" }'; }

say "$(nproc) processors, $(uname -sr), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)"

# What a commit waits for at least; a busy disk explains much of a bad run.
flushes=200
LC_ALL=C dd if=/dev/zero of="$folder/flush" bs=4k count=$flushes oflag=dsync 2>&1 | awk -v flushes=$flushes '
    / s, / { for (i = 2; i <= NF; i++) if ($i == "s,") printf "a 4 KiB write, forced to this disk: %.2f ms\n", $(i - 1) * 1000 / flushes }'

run sqlite-accept "" saturate --store-label sqlite --rounds 3 --round 4s
run sqlite-payments "" checkout --connections 2800 --for 20s
run sqlite-overload "" overload --for 10s
run sqlite-hold "" hold --orders 100000 --channel simpay
run sqlite-channels "" checkout --channel all --for 10s --no-baseline

programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin -type d 2>/dev/null | sort -V | tail -n 1)
if [ -z "$programs" ] && command -v initdb >/dev/null; then programs=$(dirname "$(command -v initdb)"); fi
if [ -n "$programs" ] && [ -x "$programs/initdb" ]; then
    mkdir "$folder/pg"
    if [ -n "$user" ]; then
        chmod 711 "$folder"
        chown "$user" "$folder/pg"
    fi
    as_user "$programs/initdb" -D "$folder/pg/data" -U tongbao -A trust >"$folder/initdb.log" 2>&1 \
        || { cat "$folder/initdb.log" >&2; exit 1; }
    cluster=$programs
    as_user "$programs/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w \
        -o "-c listen_addresses= -c unix_socket_directories=$folder/pg" start >/dev/null
    for what in accept payments; do
        as_user "$programs/createdb" -h "$folder/pg" -U tongbao "$what"
    done
    socket=${folder//\//%2F}%2Fpg
    run postgres-accept "postgres://tongbao@$socket/accept" saturate --store-label postgres --rounds 3 --round 4s
    run postgres-payments "postgres://tongbao@$socket/payments" checkout --connections 2800 --for 20s
else
    say "PostgreSQL's server programs were not found: only SQLite was measured"
fi

line() { printf '%-10s %-26s %10s %9s %10s %8s %8s  %s\n' "$@"; }
acceptance() {
    line "$1" "orders accepted" "$(rate "$1-accept" accept)" \
        "$(ratio "$(rate "$1-accept" accept)" "$(rate "$1-accept" baseline)")" "$(server_us "$1-accept" accept)" - - \
        "closed loop, 64 connections, median of 3 rounds of 4 s, each after one of the empty handler"
}
payments() {
    line "$1" "whole payments" "$(rate "$1-payments" payments)" \
        "$(ratio "$(rate "$1-payments" payments)" "$(rate "$1-payments" baseline)")" \
        "$(server_us "$1-payments" payments)" - - "closed loop, 2,800 in flight, 20 s; order to webhook, books compared"
}

say "all of it"
line store what per_second of_empty server_us p50_ms p99_ms method
acceptance sqlite
payments sqlite
line sqlite "orders at half saturation" "$(rate sqlite-overload half)" - "$(server_us sqlite-overload half)" \
    "$(p50 sqlite-overload half)" "$(p99 sqlite-overload half)" "open loop, 10 s, from the intended start"
line sqlite "orders at 3 x saturation" "$(rate sqlite-overload triple)" - "$(server_us sqlite-overload triple)" \
    "$(p50 sqlite-overload triple)" "$(p99 sqlite-overload triple)" "open loop, 10 s; accepted ones, see its NOTE if any"
bytes=$(sed -n 's/^memory:.* orders, \([0-9]*\) each$/\1/p' "$folder/sqlite-hold.txt")
line sqlite "waiting orders" "$(rate sqlite-hold hold)" - "$(server_us sqlite-hold hold)" - - \
    "100,000 open at simpay: ${bytes:--} resident bytes each"
if [ -n "$cluster" ]; then
    acceptance postgres
    payments postgres
fi

# The table of the run by every channel, as it stands.
say "whole payments by channel, SQLite, 10 s each"
sed -n '/by channel/,$p' "$folder/sqlite-channels.txt" | sed -e 's/│/|/g' -e 's/┆/|/g' | awk -F '|' '
    NF > 5 { printf "%-10s %-8s %11s %10s %11s %14s %14s %9s %16s %6s\n", $2, $3, $4, $5, $6, $8, $9, $10, $11, $12 }'
cat <<'END'

Generator, server, gateway and database share these processors: ratios of one run hold, absolute figures drift.
server_us: the server process's processor time per request or payment; a database server's is not within.
PostgreSQL: throwaway cluster, Unix socket, defaults (fsync and synchronous_commit on). SQLite: WAL, synchronous=FULL.
END
exit "$failed"
