#!/usr/bin/env bash
# The server without its sandbox: that it builds, has none of the sandbox's commands and keys, takes an overlay written
# for the other build, and refuses `sandbox = true`. Afterwards target/debug/tongbao is this build until the next one.
set -euo pipefail
cd "$(dirname "$0")/.."

"${CARGO:-cargo}" build --package tongbao --bin tongbao --no-default-features --quiet
tongbao=$(realpath "${CARGO_TARGET_DIR:-target}/debug/tongbao")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for name in $(compgen -e | grep '^TONGBAO_' || true); do unset "$name"; done

fail() { echo "lean: $*" >&2; exit 1; }
# refused EXPECTED COMMAND…: the command fails and says so.
refused() {
    local expected=$1 said
    shift
    if said=$("$@" 2>&1); then fail "$* did not fail"; fi
    grep -qF -- "$expected" <<<"$said" || fail "$* said: $said"
}

cat > site.toml <<'END'
sandbox = false
data.dir = "data"
server.public_url = "https://pay.example.com"
[gateway]
embedded = false
payer_delay_ms = 5
[gateway.faults]
latency_ms = 5
END

"$tongbao" --help > help
for command in demo gateway; do
    refused "unrecognized subcommand '$command'" "$tongbao" "$command"
    ! grep -qE "^ +$command\b" help || fail "$command is among the commands"
done
for key in sk_sandbox_a sk_sandbox_b; do
    ! grep -qaF "$key" "$tongbao" || fail "a key of the sandbox is in the binary: $key"
done
refused '`sandbox` must be false: this build has no sandbox' "$tongbao" serve
# The configuration is read before the store is looked for.
refused "there is no store at" "$tongbao" --config site.toml platform list
refused '`channels.simpay.accounts.default` is missing' "$tongbao" --config site.toml serve
