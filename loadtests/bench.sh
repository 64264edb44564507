#!/usr/bin/env bash
# Eight minutes of load on a fresh server, on SQLite and then on a throwaway PostgreSQL; one table at the end.
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
sellers=1000
failed=0
. loadtests/common.sh

# run NAME URL COMMAND…: one scenario on a server of its own, so that none pays for what another left.
run() {
    local name=$1 url=$2
    shift 2
    say "$name: tongbao-load $*"
    start_server "$bin/tongbao" "$name" "$url"
    "$bin/tongbao-load" "$@" --target "http://127.0.0.1:$port" --gateway "http://127.0.0.1:$((port + 1))" \
        | tee "$folder/$name.txt" || failed=1
    stop_server
    rm -rf "${folder:?}/$name"
}

# shares NAME URL: payments without shares, with some, and by many platforms, one after the other on one server.
shares() {
    local name=$1 url=$2
    start_server "$bin/tongbao" "$name" "$url"
    takers "$bin/tongbao" "$name" "$url" 20
    sellers "$bin/tongbao" "$name" "$url" $sellers
    shares_run "$name-none"
    shares_run "$name-one" --mix plain+split=1 --split-to taker-1
    shares_run "$name-twenty" --mix plain+split20=1 --split-to "$(taker_names 20)"
    shares_run "$name-many" --platforms "$folder/$name.sellers"
    stop_server
    rm -rf "${folder:?}/$name"
}
shares_run() {
    local name=$1
    shift
    say "$name: tongbao-load checkout $*"
    "$bin/tongbao-load" checkout --connections 2800 --for 10s --no-baseline "$@" \
        --target "http://127.0.0.1:$port" --gateway "http://127.0.0.1:$((port + 1))" | tee "$folder/$name.txt" || failed=1
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
p50() { cell "$1" "$2" 12; }
p99() { cell "$1" "$2" 13; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0 && a != "-") printf "%.2f", a / b; else printf "-" }'; }

tell_machine
echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

run sqlite-accept "" saturate --store-label sqlite --rounds 3 --round 4s
run sqlite-payments "" checkout --connections 2800 --for 20s
run sqlite-overload "" overload --for 10s
run sqlite-hold "" hold --orders 100000 --channel simpay
run sqlite-refunds "" checkout --connections 2800 --for 10s --no-baseline --mix plain+refund=1 --refunds-after
shares sqlite-shares ""
run sqlite-channels "" checkout --channel all --for 10s --no-baseline

if start_postgres; then
    for what in accept payments; do make_database "$what"; done
    run postgres-accept "$(database_url accept)" saturate --store-label postgres --rounds 3 --round 4s
    run postgres-payments "$(database_url payments)" checkout --connections 2800 --for 20s
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
line sqlite "payments, then refunds:" "$(rate sqlite-refunds payments)" - "$(server_us sqlite-refunds payments)" - - \
    "one run of 10 s; what a payment costs, to compare the next line with"
line sqlite "  their refunds" "$(rate sqlite-refunds refunds)" - "$(server_us sqlite-refunds refunds)" \
    "$(p50 sqlite-refunds refunds)" "$(p99 sqlite-refunds refunds)" "whole, until none is left; latency of acceptance"
for shares in none one twenty many; do
    case $shares in
        none) what="payments without shares" how="one platform sells" ;;
        one) what="payments with 1 share" how="one platform sells" ;;
        twenty) what="payments with 20 shares" how="one platform sells; each share is a 20th of what is more" ;;
        many) what="payments without shares" how="$sellers platforms sell by turns" ;;
    esac
    line sqlite "$what" "$(rate sqlite-shares-$shares payments)" - "$(server_us sqlite-shares-$shares payments)" - - \
        "$how; all on one server, 10 s each"
done
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
