# What a person types. `make` alone tells what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where cargo puts everything, and we what we fetch for ourselves.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
TOOLS := $(TARGET)/tools
PREFIX ?= /usr/local

# What scripts/setup.sh fetched comes first.
export PATH := $(TOOLS):$(PATH)

.PHONY: help
help: ## This list.
	@echo 'Sealane: the whole Kubernetes network in one binary.'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'New here? As root, `make demo` makes a cluster of two nodes on this machine, shows two pods'
	@echo 'talking across them, and takes everything away again.'

.PHONY: setup
setup: ## Install what is missing: packages by apt-get (as root), kubectl into target/tools.
	@scripts/setup.sh '$(TOOLS)'

.PHONY: build
build: setup ## Build target/sealane, one static release binary.
	cargo build --release --locked --package sealane
	@host=$$(rustc -vV | sed -n 's/^host: //p'); \
	ln -sfn "$$host/release/sealane" '$(TARGET)/sealane'
	@echo 'built $(TARGET)/sealane'

.PHONY: install
install: build ## Put the binary in /usr/local/bin (PREFIX=/usr/local).
	install -D -m 0755 '$(TARGET)/sealane' '$(DESTDIR)$(PREFIX)/bin/sealane'

.PHONY: demo
demo: build ## Two nodes, two pods, packets between them, and nothing left (as root).
	@SEALANE='$(TARGET)/sealane' scripts/demo.sh

# Tests, benches and binaries are built in one go, so that cargo chooses the same features of
# every dependency for all of them and compiles none twice.
.PHONY: test
test: setup ## Every check and every test, on real packets (as root).
	@scripts/setup.sh '$(TOOLS)' tests
	cargo xtask check
	cargo build --workspace --bins --tests --locked
	cargo test --workspace --locked
	for form in 'bridge vxlan dual' 'routed direct dual' 'routed vxlan ipv6'; do \
	  SEALANE_NETWORK="$$form" cargo test --package sealane-testkit --test network_model --locked || exit; \
	done

# How often the API server is killed under two thousand objects and a hundred watchers, how many random
# operations a cluster must survive, how many CNI calls an agent, how many events of Services its rules, how many
# requests of Services in a second may not fail through how many rounds of updates, how many lookups of names may not
# through restarts of their servers, and a seed for all; `make test` takes ten, two hundred, five hundred, five thousand, a
# thousand and one, ten thousand and one.
SEALANE_KILLS ?= 50
SEALANE_OPERATIONS ?= 1000
SEALANE_CALLS ?= 5000
SEALANE_EVENTS ?= 20000
SEALANE_REQUESTS ?= 2000
SEALANE_ROLLOUTS ?= 5
SEALANE_LOOKUPS ?= 100000
SEALANE_SEED ?= 1

.PHONY: soak
soak: setup ## The network in every form; crash tests, longer (as root): SEALANE_KILLS, _OPERATIONS, _CALLS, _EVENTS, _REQUESTS, _ROLLOUTS, _LOOKUPS, _SEED.
	cargo build --package sealane --locked
	for form in {bridge,routed}' '{direct,vxlan}' '{ipv4,ipv6,dual}; do \
	  SEALANE_NETWORK="$$form" cargo test --package sealane-testkit --test network_model --locked || exit; \
	done
	SEALANE_KILLS=$(SEALANE_KILLS) SEALANE_SEED=$(SEALANE_SEED) \
	cargo test --package sealane-apiserver --test api --locked -- --nocapture crashes::
	SEALANE_OPERATIONS=$(SEALANE_OPERATIONS) SEALANE_SEED=$(SEALANE_SEED) \
	cargo test --package sealane-testkit --test random_operations --locked -- --nocapture
	SEALANE_REQUESTS=$(SEALANE_REQUESTS) SEALANE_ROLLOUTS=$(SEALANE_ROLLOUTS) SEALANE_SEED=$(SEALANE_SEED) \
	cargo test --package sealane-testkit --test rolling_update --locked -- --nocapture proxied::
	SEALANE_LOOKUPS=$(SEALANE_LOOKUPS) cargo test --package sealane-testkit --test names --locked -- --nocapture restarts::
	cargo build --package sealane-agent --examples --locked
	for attachment in bridge routed; do \
	  SEALANE_ATTACHMENT=$$attachment SEALANE_CALLS=$(SEALANE_CALLS) SEALANE_SEED=$(SEALANE_SEED) \
	  cargo test --package sealane-agent --test random --locked -- --nocapture || exit; \
	done
	SEALANE_KILLS=$(SEALANE_KILLS) cargo test --package sealane-agent --test faults --locked -- --nocapture
	SEALANE_EVENTS=$(SEALANE_EVENTS) SEALANE_SEED=$(SEALANE_SEED) \
	cargo test --package sealane-agent --test services --locked -- --nocapture storm::

.PHONY: check
check: setup ## Formatting, lints, documentation, layers and licences; no tests.
	cargo xtask check

.PHONY: bench
bench: setup ## Measure a whole cluster and its parts (as root); see docs/benchmarks.md.
	cargo build --release --workspace --bins --bench '*' --locked
	cargo bench --workspace --bench '*' --locked

# How long each target runs.
FUZZ_SECONDS ?= 120

.PHONY: fuzz
fuzz: ## Feed what reads outside bytes with made-up ones, each target for FUZZ_SECONDS=120.
	@scripts/setup.sh '$(TOOLS)' fuzz
	scripts/fuzz.sh '$(FUZZ_SECONDS)'

.PHONY: clean
clean: ## Remove what was built and fetched.
	cargo clean
