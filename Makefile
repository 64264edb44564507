# Everything a newcomer needs: `make run` and `make test`. What each command prints is what matters.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto
# Of each target; another sanitizer than none, such as address, needs a nightly toolchain.
FUZZ_SECONDS ?= 60
FUZZ_SANITIZER ?= none
PROFILE ?= release

.PHONY: run demo dist test check lean bench kill fuzz

run: ## the server with its simulated gateway, on an embedded database: http://127.0.0.1:8080
	@tests/setup.sh run
	$(CARGO) run --release --quiet -- serve

demo: ## a few thousand simulated payments, then the books
	@tests/setup.sh run
	$(CARGO) run --release --quiet -- demo

dist: ## the server as it is handed out, in target/dist: optimised as a whole, which takes minutes
	@tests/setup.sh run
	$(CARGO) build --profile dist --package tongbao --quiet

test: ## everything but the long runs; installs what is missing first, SETUP=no only names it
	@tests/setup.sh test
	$(CARGO) test --workspace --quiet

# Nothing else compiles the server without its sandbox; the second line of clippy does, without building it.
check: ## formatting, lints, documentation
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package tongbao --no-default-features --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

lean: ## the server without its sandbox: that it is one. This builds it, which `make check` does not
	tests/lean.sh

# BEFORE=DIR: against the build there instead, by default both as `release`; PROFILE=dist takes both as `dist`.
bench: ## five minutes of load on SQLite and PostgreSQL, with the method beside the figures
	$(CARGO) build --profile $(PROFILE) --workspace --quiet
	$(if $(BEFORE),BEFORE="$(BEFORE)" TONGBAO_COMPARE_PROFILE=$(PROFILE) loadtests/compare.sh,loadtests/bench.sh)

kill: ## the real binary, killed at random under load, twenty times on each store
	TONGBAO_KILLS=20 $(CARGO) test --release --quiet --test kill -- --nocapture

fuzz: ## what reads bytes from outside, for FUZZ_SECONDS each; stops at the first input that breaks a target
	@$(CARGO) fuzz --version > /dev/null 2>&1 || { echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	@c++ --version > /dev/null 2>&1 || { echo "make fuzz needs a C++ compiler, by which libFuzzer is built" >&2; exit 1; }
	@set -e; for target in $$($(CARGO) fuzz list --fuzz-dir tests/fuzz); do \
		echo "$$target"; mkdir -p tests/fuzz/found/$$target; \
		$(CARGO) fuzz run --fuzz-dir tests/fuzz --sanitizer $(FUZZ_SANITIZER) $$target \
			tests/fuzz/found/$$target tests/fuzz/corpus/$$target -- -max_total_time=$(FUZZ_SECONDS) \
			-max_len=16384 -timeout=10 -rss_limit_mb=1024 -verbosity=0; \
	done
