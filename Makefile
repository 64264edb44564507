# Everything a newcomer needs: `make run` and `make test`. What each command prints is what matters.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: run demo test check bench kill

run: ## the server with its simulated gateway, on an embedded database: http://127.0.0.1:8080
	$(CARGO) run --release --quiet -- serve

demo: ## a few thousand simulated payments, then the books
	$(CARGO) run --release --quiet -- demo

test: ## everything but the long runs; needs the PostgreSQL server binaries
	$(CARGO) test --workspace --quiet

check: ## formatting, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

bench: ## five minutes of load on SQLite and PostgreSQL, with the method beside the figures
	$(CARGO) build --release --workspace --quiet
	loadtests/bench.sh

kill: ## the real binary, killed at random under load, twenty times on each store
	TONGBAO_KILLS=20 $(CARGO) test --release --quiet --test kill -- --nocapture
