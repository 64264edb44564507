#!/usr/bin/env bash
# Two builds of the server under one load tester, this tree's: alternated on this machine, one table of medians and
# ratios at the end. `make bench BEFORE=DIR` builds this side and calls it. loadtests/README.md says how to read it.
#
#   BEFORE=DIR loadtests/compare.sh [accept] [payments] [postgres] [refunds] [shares] [latency] [memory]
#                              all of them without a name
#
#   BEFORE                     where the other build is: DIR/target/PROFILE/tongbao, of the same profile
#   TONGBAO_COMPARE_PROFILE    release, or dist (release)
#   TONGBAO_COMPARE_ROUNDS     runs of each build (5)
#   TONGBAO_COMPARE_SECONDS    of a run of accept, payments, postgres, refunds and shares (20)
#   TONGBAO_COMPARE_RATE       orders per second of latency (half of the other build's saturation, measured first)
#   TONGBAO_COMPARE_PLATFORMS  that sell by turns, against one, in shares (1000)
#   TONGBAO_COMPARE_ORDERS     waiting orders of memory, against 10,000 (1000000)
#   TONGBAO_COMPARE_CHANNEL    where they wait (at no channel: for their payer's choice)
#   TONGBAO_COMPARE_REST       before their memory is read: longer than they stay in it (90s)
#   TONGBAO_COMPARE_BEFORE_SET, TONGBAO_COMPARE_AFTER_SET
#                              variables of one build's servers, as "TONGBAO_STORE__READERS=8 …"
#   TONGBAO_COMPARE_PORT       the server's port (18480); the gateway has the next one
#
# The exit code is 1 when a run found something lost, books that differ, or could not be made.
set -euo pipefail
cd "$(dirname "$0")/.."

before=$(realpath "${BEFORE:?the folder of the other build}")
profile=${TONGBAO_COMPARE_PROFILE:-release}
rounds=${TONGBAO_COMPARE_ROUNDS:-5}
seconds=${TONGBAO_COMPARE_SECONDS:-20}
rate=${TONGBAO_COMPARE_RATE:-}
platforms=${TONGBAO_COMPARE_PLATFORMS:-1000}
many=${TONGBAO_COMPARE_ORDERS:-1000000}
waiting_at=${TONGBAO_COMPARE_CHANNEL:-}
rest=${TONGBAO_COMPARE_REST:-90s}
port=${TONGBAO_COMPARE_PORT:-18480}
read -ra own_before <<<"${TONGBAO_COMPARE_BEFORE_SET:-}"
read -ra own_after <<<"${TONGBAO_COMPARE_AFTER_SET:-}"
connections=256
few=10000
# The orders that wait expire in two hours; a server whose clock is three hours ahead finds all of them overdue.
expire_in=7200
ahead_ms=10800000
load=$(realpath "target/$profile/tongbao-load")
binary_before=$(realpath "$before/target/$profile/tongbao")
binary_after=$(realpath "target/$profile/tongbao")
failed=0
. loadtests/common.sh

# use SIDE: which build is meant from now on.
use() {
    side=$1
    case $side in
        before) binary=$binary_before own=("${own_before[@]}") ;;
        after) binary=$binary_after own=("${own_after[@]}") ;;
    esac
}

# order ROUND: neither build always goes first.
order() { if [ $(($1 % 2)) = 1 ]; then echo before after; else echo after before; fi; }

# What else runs here is said beside the run that it disturbs.
busy() { awk '/^cpu / { idle = $5 + $6; all = 0; for (i = 2; i <= 9; i++) all += $i; print idle, all }' /proc/stat; }
tell_noise() {
    local idle all idle_then all_then
    read -r idle_then all_then < <(busy)
    sleep 1
    read -r idle all < <(busy)
    awk -v idle=$((idle - idle_then)) -v all=$((all - all_then)) 'BEGIN {
        share = 100 * (1 - idle / all); if (share > 10) printf "NOTE: %.0f %% of the processors are busy with something else\n", share }'
}

# A figure of the load tester's report: the first of this name.
figure() { sed -n "s/^ *\"$2\": \([0-9.]*\),*$/\1/p" "$1" | head -n 1; }

# The same of the round of this name.
figure_of() { sed -n "/\"of\": \"$2\"/,\$s/^ *\"$3\": \([0-9.]*\),*\$/\1/p" "$1" | head -n 1; }

# note MEASUREMENT FIGURE VALUE ASKED: one value of the build in use.
# ASKED: "ratio >= 1.5" to the other build, "after <= 2000" by itself, or "-".
note() { printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$side" "$3" "$4" >>"$folder/values"; }

# run NAME URL PATIENCE COMMAND…: one scenario on a fresh server of the build in use. PATIENCE: seconds until the books
# must be quiet; 0 where orders stay open. The report is in $folder/NAME.json.
run() {
    local name=$1 url=$2 patience=$3
    shift 3
    say "$name: tongbao-load $*"
    tell_noise
    start_server "$binary" "$name" "$url" "${own[@]}"
    try "$name" "$url" "$patience" "$@"
    stop_server
    rm -rf "${folder:?}/$name"
}

# The same on the server that runs.
try() {
    local name=$1 url=$2 patience=$3 audit
    shift 3
    audit="'$binary' audit --json --wait $patience"
    if ! env TONGBAO_DATA__DIR="$folder/$name" TONGBAO_STORE__URL="$url" "${own[@]}" "$load" "$@" \
        --target "http://127.0.0.1:$port" --gateway "http://127.0.0.1:$((port + 1))" --server-pid "$server" \
        --audit "$audit >'$folder/$name.audit'" --json "$folder/$name.json" >"$folder/$name.txt" 2>&1; then
        failed=1
        tail -n 20 "$folder/$name.txt"
        head -c 2000 "$folder/$name.audit" 2>/dev/null || true
    fi
    grep '^NOTE' "$folder/$name.txt" || true
    touch "$folder/$name.json"
}

accept() {
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            run "accept-$side-$round" "" 0 accept --connections $connections --warm-up 2s --for "${seconds}s" --no-baseline
            local report=$folder/accept-$side-$round.json
            note accept "orders accepted per second" "$(figure "$report" per_second)" "ratio >= 1.5"
            note accept "server's processor time, µs each" "$(figure "$report" server_us)" -
        done
    done
}

payments() {
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            run "payments-$side-$round" "" 60 checkout --connections 2800 --warm-up 2s --for "${seconds}s" --no-baseline
            local report=$folder/payments-$side-$round.json
            note payments "whole payments per second" "$(figure "$report" per_second)" -
            note payments "server's processor time, µs each" "$(figure "$report" server_us)" "ratio <= 1.1"
        done
    done
}

postgres() {
    if [ -z "$cluster" ] && ! start_postgres; then
        say "PostgreSQL's server programs were not found: not measured"
        return
    fi
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            local name=postgres-$side-$round
            make_database "$name"
            run "$name" "$(database_url "$name")" 60 checkout --connections 2800 --warm-up 2s --for "${seconds}s" \
                --no-baseline --database-pid "$(postmaster)"
            drop_database "$name"
            local report=$folder/$name.json
            note postgres "whole payments per second" "$(figure "$report" per_second)" -
            note postgres "server's processor time, µs each" "$(figure "$report" server_us)" "ratio <= 0.75"
            note postgres "PostgreSQL's processor time, µs each" "$(figure "$report" database_us)" "ratio <= 0.75"
        done
    done
}

# A build from before the ledger knows neither refunds that are asked for nor shares.
knows_refunds() { "$binary" ledger --help >/dev/null 2>&1; }
percent() { awk -v a="$1" -v b="$2" 'BEGIN { if (a != "" && b > 0) printf "%.1f", 100 * a / b }'; }

# Payments and then, in the same run, their refunds.
refunds() {
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            if ! knows_refunds; then continue; fi
            run "refunds-$side-$round" "" 60 checkout --connections 2800 --warm-up 2s --for "${seconds}s" --no-baseline \
                --mix plain+refund=1 --refunds-after
            local report=$folder/refunds-$side-$round.json
            local payment refund
            payment=$(figure_of "$report" payments server_us)
            refund=$(figure_of "$report" refunds server_us)
            note refunds "server's processor time, µs per payment" "$payment" -
            note refunds "server's processor time, µs per refund" "$refund" -
            note refunds "a refund's in percent of a payment's" "$(percent "$refund" "$payment")" "after <= 100"
            note refunds "refunds per second" "$(figure_of "$report" refunds per_second)" -
        done
    done
}

# payments_on NAME FIGURE ARGUMENT…: whole payments on the server that runs. The server's processor time each is in $each.
payments_on() {
    local name=$1 figure=$2
    shift 2
    say "$name: tongbao-load checkout $*"
    try "$name" "" 60 checkout --connections 2800 --warm-up 2s --for "${seconds}s" --no-baseline "$@"
    each=$(figure "$folder/$name.json" server_us)
    note shares "$figure" "$each" -
}

# Of the server that runs there has been nothing else: the others' rows would make it dearer.
share_server() {
    name=shares-$side-$round-$1
    tell_noise
    start_server "$binary" "$name" "" "${own[@]}"
}
share_server_ends() {
    stop_server
    rm -rf "${folder:?}/$name"
}

shares_none() {
    share_server none
    payments_on "$name" "µs per payment without shares"
    none=$each
    share_server_ends
}

shares_one() {
    share_server one
    takers "$binary" "$name" "" 1
    payments_on "$name" "µs per payment with 1 share" --mix plain+split=1 --split-to taker-1
    share_server_ends
}

shares_twenty() {
    share_server twenty
    takers "$binary" "$name" "" 20
    payments_on "$name" "µs per payment with 20 shares" --mix plain+split20=1 --split-to "$(taker_names 20)"
    twenty=$each
    share_server_ends
}

shares_platforms() {
    share_server platforms
    sellers "$binary" "$name" "" "$platforms"
    payments_on "$name" "µs per payment, $platforms platforms sell" --platforms "$folder/$name.sellers"
    many_sell=$each
    share_server_ends
}

# The same payments without and with shares, by one platform and by many. What is compared takes turns.
shares() {
    local name none twenty many_sell part parts
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            if ! knows_refunds; then continue; fi
            parts=(none platforms one twenty)
            if [ $((round % 2)) = 0 ]; then parts=(platforms none twenty one); fi
            for part in "${parts[@]}"; do "shares_$part"; done
            note shares "µs for each of 20 shares" \
                "$(awk -v a="$twenty" -v b="$none" 'BEGIN { if (a != "" && b != "") printf "%.2f", (a - b) / 20 }')" -
            note shares "$platforms platforms in percent of one" "$(percent "$many_sell" "$none")" "after <= 110"
        done
    done
}

latency() {
    if [ -z "$rate" ]; then
        use before
        run saturation "" 0 accept --connections $connections --warm-up 2s --for "${seconds}s" --no-baseline
        rate=$(awk -v found="$(figure "$folder/saturation.json" per_second)" 'BEGIN { printf "%d", found / 2 }')
    fi
    for round in $(seq "$rounds"); do
        for side in $(order "$round"); do
            use "$side"
            run "latency-$side-$round" "" 0 accept --rate "$rate" --warm-up 2s --for 22s --no-baseline
            local report=$folder/latency-$side-$round.json
            note latency "p50 of acceptance at $rate/s, µs" "$(figure "$report" p50_us)" -
            note latency "p99 of acceptance at $rate/s, µs" "$(figure "$report" p99_us)" "ratio <= 0.5"
            note latency "the longest at $rate/s, µs" "$(figure "$report" max_us)" -
        done
    done
}

# ready NAME SINCE: milliseconds from then until the server says that it is ready.
ready() {
    local line
    for _ in $(seq 12000); do
        if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
            printf 'GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n' >&3
            read -r line <&3 || line=
            exec 3>&-
            case $line in *" 200 "*)
                awk -v since="$2" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.0f", (now - since) * 1000 }'
                return ;;
            esac
        fi
        sleep 0.01
    done
    failed=1
    tail -n 20 "$folder/$1.log" >&2
}

# restart NAME [VARIABLE=VALUE…]: kills the server and starts it again; how long it was away.
restart() {
    local name=$1 since=$EPOCHREALTIME
    shift
    end "$server" KILL
    launch "$binary" "$name" "" "${own[@]}" "$@"
    away=$(ready "$name" "$since")
}

# One round: filling a store takes minutes. The gateway is a process apart here, as reading its own books would be counted
# as the server's start.
memory() {
    local name count resident by=()
    if [ -n "$waiting_at" ]; then by=(--channel "$waiting_at"); fi
    export TONGBAO_GATEWAY__EMBEDDED=false
    echo $ahead_ms >"$folder/ahead"
    for side in before after; do
        use "$side"
        local little=
        for count in $few "$many"; do
            name=memory-$side-$count
            say "$name: tongbao-load hold"
            tell_noise
            check_ports
            env TONGBAO_DATA__DIR="$folder/$name" "${own[@]}" "$binary" gateway 2>"$folder/$name-gateway.log" &
            gateway=$!
            await "$gateway" $((port + 1)) "$folder/$name-gateway.log"
            launch "$binary" "$name" "" "${own[@]}"
            await "$server" "$port" "$folder/$name.log"
            try "$name" "" 0 hold --orders "$count" "${by[@]}" --expires-in $expire_in --rest "$rest"
            resident=$(figure "$folder/$name.json" resident_after)
            if [ -n "$resident" ]; then resident=$((resident / 1024)); fi
            note memory "resident KiB, $count waiting" "$resident" -
            if [ -n "$little" ] && [ -n "$resident" ]; then
                note memory "more KiB than with $few" $((resident - little)) "after <= 65536"
            fi
            little=$resident
            restart "$name"
            note memory "ms from kill -9 to ready, $count waiting" "$away" "after <= 2000"
            restart "$name" TONGBAO_CLOCK__OFFSET_FILE="$folder/ahead"
            note memory "ms from kill -9 to ready, $count overdue" "$away" "after <= 2000"
            stop_server
            end "$gateway"
            gateway=
            rm -rf "${folder:?}/$name"
        done
    done
    export TONGBAO_GATEWAY__EMBEDDED=true
}

# lanes DIR: what the build has as writers where no variable says otherwise; nothing where it knows only one.
lanes() { sed -n 's/^\(lanes[a-z_]* *= *[0-9]*\).*/\1/p' "$1/config/default.toml" 2>/dev/null || true; }
commit() { git -C "$1" describe --always --dirty 2>/dev/null || echo unknown; }

table() {
    awk -F '\t' '
        function median(key,    n, i, j, held, values) {
            n = split(all[key], values, " ")
            for (i = 2; i <= n; i++) {
                held = values[i] + 0
                for (j = i - 1; j > 0 && values[j] + 0 > held; j--) values[j + 1] = values[j]
                values[j + 1] = held
            }
            spread = n ? sprintf("%s..%s", short(values[1]), short(values[n])) : "-"
            if (!n) return "-"
            return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
        }
        function short(value) { return value == "-" ? value : sprintf(value + 0 < 1000 ? "%.1f" : "%.0f", value) }
        {
            row = $1 FS $2
            if (!(row in asked)) { rows[++count] = row; asked[row] = $5 }
            if ($4 != "") all[row FS $3] = all[row FS $3] " " $4
        }
        END {
            format = "%-9s %-42s %10s %10s %7s  %-14s %-7s %-17s %s\n"
            printf format, "what", "figure (median)", "before", "after", "ratio", "asked", "", "before, all", "after, all"
            for (i = 1; i <= count; i++) {
                split(rows[i], name, FS)
                before = median(rows[i] FS "before"); before_all = spread
                after = median(rows[i] FS "after"); after_all = spread
                ratio = before + 0 > 0 && after != "-" ? after / before : "-"
                split(asked[rows[i]], bound, " ")
                found = bound[1] == "ratio" ? ratio : after
                met = bound[1] == "-" || found == "-" ? "" : (bound[2] == ">=" ? found >= bound[3] : found <= bound[3]) ? "met" : "MISSED"
                printf format, name[1], name[2], short(before), short(after), ratio == "-" ? "-" : sprintf("%.3f", ratio), asked[rows[i]], met, before_all, after_all
            }
        }' "$folder/values"
}

measurements=("$@")
if [ ${#measurements[@]} = 0 ]; then measurements=(accept payments postgres refunds shares latency memory); fi
for measurement in "${measurements[@]}"; do
    case $measurement in
        accept | payments | postgres | refunds | shares | latency | memory) ;;
        *) echo "there is no measurement $measurement" >&2; exit 2 ;;
    esac
done

tell_machine
echo "before: $(commit "$before") $(lanes "$before") ${own_before[*]}"
echo "after:  $(commit .) $(lanes .) ${own_after[*]}"
for measurement in "${measurements[@]}"; do "$measurement"; done

say "$profile builds, merchant order ids at random, $rounds rounds of each but memory (1)"
table
cat <<'END'

Generator, server, gateway and database share these processors: ratios of one run hold, absolute figures drift.
A server's processor time is its process's alone; PostgreSQL's is that of all its processes.
END
exit "$failed"
