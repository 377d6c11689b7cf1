# Two commands need nothing but rustup's Rust, make and a C compiler: `make demo` and `make test`.
# Everything here also works as plain cargo once `make prereqs` passes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin

# Arguments of the program (demo), of cargo test (test), of bench/compare (bench), of tests/probes/run (probes) and of tests/load/run
# (load).
ARGS ?=

# The checkers of `make lint`, pinned. Built without optimisation: they run for seconds and compile for minutes.
TOOLS := cargo-deny@0.20.2 cargo-machete@0.9.2 typos-cli@1.52.0

.PHONY: help demo test acme lint fmt clippy doc deny machete typos release bench bench-micro bench-compare bench-checks clients probes page traffic load prereqs tools

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

demo: prereqs ## Run the main job on embedded origins (ARGS=--once: by itself, checked)
	cargo run --locked -- demo $(ARGS)

test: prereqs ## Run every test: unit, integration, tidy, documentation
	cargo test --locked --no-fail-fast $(ARGS)

acme: prereqs ## Obtain certificates from Debian's pebble, which must be there (apt-get install pebble)
	cargo test --locked --test it -- --ignored acme:: ovh_service::

lint: fmt clippy doc deny machete typos ## Run every check that is not a test

fmt:
	cargo fmt --check

clippy: prereqs
	cargo clippy --locked --all-targets -- -D warnings

doc: prereqs
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Not `advisories`: that check downloads a database, and nothing here may need more than package registries.
deny: tools
	cargo deny --locked check bans licenses sources

machete: tools
	cargo machete

typos: tools
	typos

release: prereqs ## Build target/release/farmgate
	cargo build --release --locked

bench: bench-micro bench-compare ## Run the micro benches, then Farmgate beside HAProxy and nginx

bench-micro: prereqs
	cargo bench --locked --bench '*'

bench-compare: release
	bench/compare $(ARGS)

bench-checks: release ## 10,000 servers checked, beside HAProxy
	bench/checks $(ARGS)

clients: prereqs ## Run the vendors' own SDKs against the admin side
	bash tests/clients/run

probes: prereqs ## Check every type of probe against real servers of its kind (ARGS="mysql grpc": some cases)
	tests/probes/run $(ARGS)

page: prereqs ## Drive the page in headless Chromium (ARGS=--picture: take the README's picture)
	bash tests/page/run $(ARGS)

traffic: prereqs ## Drive real clients and attackers through us (ARGS=test_dns: one file); programs are installed if missing
	tests/traffic/run $(ARGS)

load: prereqs ## Kill origins, reload, upgrade and stop under load (ARGS="kill-get --json FILE"; oha is built if missing)
	cargo build --locked
	tests/load/run $(ARGS)

prereqs: ## Check for cargo, a C compiler and cmake; install cmake where allowed
	@command -v cargo >/dev/null || { echo "make: cargo is missing; install Rust with rustup (https://rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "make: a C compiler is missing; run: apt-get install build-essential" >&2; exit 1; }
	@if command -v cmake >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then as_root=env; elif sudo -n true 2>/dev/null; then as_root="sudo -n env"; else as_root=; fi; \
	if [ -n "$$as_root" ] && command -v apt-get >/dev/null; then \
	  echo "make: installing cmake (zlib-ng is built with it)"; \
	  $$as_root DEBIAN_FRONTEND=noninteractive apt-get update -qq && \
	  $$as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cmake >/dev/null; \
	fi; \
	command -v cmake >/dev/null || { echo "make: cmake is missing; run: apt-get install cmake" >&2; exit 1; }

# A tool is built only if it is not there; target/tools holds what its building leaves.
tools: prereqs
	@for tool in $(TOOLS); do \
	  name=$${tool%@*}; program=$${name%-cli}; \
	  command -v $$program >/dev/null && continue; \
	  echo "make: building $$tool (minutes, once)"; \
	  CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target}/tools CARGO_PROFILE_DEV_DEBUG=0 \
	    cargo install --quiet --locked --profile dev "$$tool"; \
	done; \
	rm -rf $${CARGO_TARGET_DIR:-target}/tools
