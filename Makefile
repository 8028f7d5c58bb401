# Everything a person or CI types. `check` and `test` only read; `fix` writes. Every target ends by itself.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# uv from the path, else one of our own: a bare machine needs only Python, Rust, a C compiler and make.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .venv-tools/bin/uv)
RUN := $(UV) run --no-sync
# Bounds are for a machine of two cores with cold caches, in seconds.
SOON := timeout --foreground --kill-after=10
CRATES := --workspace --exclude konsul-py

.PHONY: help run build test check fix bench watchers peers kills join-1gb loadtest demo chaos sim fuzz clean
.PHONY: shop cluster promtool rust-tools deps

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and serve on http://127.0.0.1:8888 with ./data; Ctrl-C stops gracefully
	@exec $(RUN) konsul

cluster: build ## three nodes on this machine, data in ./data/cluster; Ctrl-C stops them all
	@exec $(RUN) python -m deploy.local_cluster $(if $(NODES),--nodes $(NODES))

build: $(UV) ## the Rust core, the Cython front and the Python packages, into .venv
	@$(SOON) 3000 $(UV) sync --quiet

test: check ## everything: check, then the Rust and the Python tests
	@$(SOON) 2400 cargo test --locked --quiet $(CRATES)
	@$(SOON) 3000 $(RUN) pytest

check: build rust-tools ## style, types, imports and tidiness; writes nothing
	@$(SOON) 120 $(RUN) ruff check .
	@$(SOON) 120 $(RUN) ruff format --check --quiet .
	@$(SOON) 300 $(RUN) mypy
	@MYPYPATH=python:ext $(SOON) 300 $(RUN) stubtest konsul._core konsul_ext.front
	@$(SOON) 120 $(RUN) lint-imports --no-cache
	@$(SOON) 120 cargo fmt --all --check
	@$(SOON) 2400 cargo clippy --locked --quiet --workspace --all-targets -- -D warnings
	@$(SOON) 120 $(RUN) python -m tests.tidy

deps: build ## known flaws, licences, sources and bans of everything built in (cargo-deny, pip-audit)
	@cargo deny --version >/dev/null 2>&1 \
	  || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	@$(SOON) 300 cargo deny --offline --locked check licenses bans sources
	@if $(SOON) 300 cargo deny --locked fetch db 2>/dev/null; \
	  then $(SOON) 300 cargo deny --locked check advisories; \
	  else echo "advisories of crates: the database cannot be reached, so nothing is known of them"; fi
	@$(SOON) 900 $(RUN) python -m tests.security.known_flaws || [ $$? = 2 ]

fix: build rust-tools ## rewrite what can be put right by a tool
	@$(SOON) 120 $(RUN) ruff check --fix --quiet . || true
	@$(SOON) 120 $(RUN) ruff format --quiet .
	@$(SOON) 120 cargo fmt --all
	@$(SOON) 120 $(RUN) python -m tests.tidy.pages

bench: build ## requests per second, latencies and CPU per request against a real server
	@$(SOON) 1800 $(RUN) python -m benches.doors
	@$(SOON) 1800 $(RUN) python -m benches.doors.guarded
	@$(SOON) 900 $(RUN) python -m benches.doors.tls
	@$(SOON) 900 $(RUN) python -m benches.restart
	@$(SOON) 1800 $(RUN) python -m benches.discovery
	@$(SOON) 900 $(RUN) python -m benches.checks
	@$(SOON) 900 $(RUN) python -m benches.dns
	@$(SOON) 900 $(RUN) python -m benches.lb
	@$(SOON) 900 $(RUN) python -m benches.search

watchers: build ## ten thousand watchers on one node: how soon, at what cost, and with one that never reads
	@$(SOON) 1800 $(RUN) python -m benches.watch

peers: build ## the same load against other stores, alternating; a table at the end
	@$(SOON) 3600 $(RUN) python -m benches.peers

loadtest: build ## locust users, headless and bounded; the report stays in reports/
	@$(SOON) 900 $(RUN) python -m loadtests

demo: build ## real packages and services in, SIGKILL, everything compared
	@$(SOON) 1800 $(RUN) python -m loadtests.real_data

shop: build ## a web shop of six services: checks, weights, a canary; one breaks and nobody is sent to it
	@$(SOON) 300 $(RUN) python -m deploy.shop $(if $(SERVER),--server $(SERVER))

chaos: build ## CHAOS_SECONDS=600 of all faults on a cluster, LOCKS_SECONDS=300 on locks, KILLS=200 of a node
	@$(SOON) 7200 $(RUN) python -m tests.chaos --seconds $(or $(CHAOS_SECONDS),600) \
	  --locks $(or $(LOCKS_SECONDS),300) --nodes $(or $(CHAOS_NODES),3) --kills $(or $(KILLS),200) \
	  $(if $(SEED),--seed $(SEED))

kills: build ## 100 leader kills with each profile: time to the next write; writes and lag on three nodes
	@$(SOON) 5400 $(RUN) python -m benches.cluster

join-1gb: build ## a fresh node joins a cluster that holds 1 GB under load; KONSUL_BENCH_JOIN_MB: another size
	@$(SOON) 5400 $(RUN) python -m benches.cluster.join

sim: ## a simulated cluster under faults, many seeds; SIM_SECONDS bounds it, SEED=n replays one (TRACE=1)
	@$(SOON) 7200 cargo run --locked --quiet -p konsul-sim --bin konsul-sim -- $(if $(SEED),\
	  --seed $(SEED) $(if $(TRACE),--trace),--seeds $(or $(SEEDS),10000) --seconds $(or $(SIM_SECONDS),3000))

fuzz: build ## a long search by Hypothesis and proptest for what breaks the engine
	@HYPOTHESIS_PROFILE=slow $(SOON) 3600 $(RUN) pytest tests/model --timeout 3000
	@PROPTEST_CASES=20000 $(SOON) 3600 cargo test --locked --quiet -p konsul-state -p konsul-disk

promtool: ## check the alert rules and run their tests (promtool is in Debian's package prometheus)
	@cd deploy/prometheus && promtool check config prometheus.yml && promtool test rules alerts_test.yml

clean: ## remove what was built; ./data stays
	@rm -rf target .venv .venv-release .venv-tools reports ext/build
	@rm -rf tests/real_clients/*/node_modules tests/real_clients/chromium/unpacked
	@rm -rf .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@find python ext -name '*.so' -delete -o -name '*.c' -delete

rust-tools:
	@cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 \
	  || rustup component add clippy rustfmt \
	  || { echo "clippy and rustfmt are missing: install them for your Rust" \
	       "(rustup component add clippy rustfmt, or your distribution's packages)"; exit 1; }

# Some distributions ship Python without venv, and forbid pip outside one; then pip installs for this user.
.venv-tools/bin/uv:
	@echo "uv is missing: installing it into .venv-tools"
	@mkdir -p .venv-tools/bin
	@if $(PYTHON) -m venv .venv-tools >/dev/null 2>&1; then .venv-tools/bin/pip install --quiet uv; else \
	  $(PYTHON) -m pip install --quiet --user --break-system-packages uv && \
	  ln -sf "$$($(PYTHON) -m site --user-base)/bin/uv" $@; fi
	@$@ --version >/dev/null || { echo "uv could not be installed: install it by hand and try again"; exit 1; }

ifneq ($(UV),.venv-tools/bin/uv)
$(UV):
endif
