# Every target in one line; plain `make` shows them.
.DEFAULT_GOAL := help
.PHONY: help demo up down test lint generate bench clean

CARGO ?= cargo
TESTBED = $(CARGO) run --quiet --package foureyes-testbed --bin foureyes-testbed --

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: binaries ## play the story of a deletion with four eyes on a real cluster, and leave the cluster up
	@$(TESTBED) demo

up: binaries ## start a real cluster on this machine with foureyes, people and a small shop in it
	@$(TESTBED) up

down: ## stop exactly what `make up` started
	@$(TESTBED) down

test: lint ## lint, then every test, those on a real control plane too
	@$(TESTBED) build
	$(CARGO) test --workspace

lint: ## formatting, clippy, licences and advisories
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed: licences, bans and advisories stay unchecked"; fi

generate: ## write CRDs, RBAC, webhook rules and reference pages anew
	$(CARGO) run --quiet --example generate
	$(CARGO) run --quiet --package foureyes-plugin --example reference

bench: ## measure the guard: reviews per second, latency, memory
	$(CARGO) bench --package foureyes-bench

clean: down ## remove what was built, but not the control plane in the user's cache
	$(CARGO) clean

.PHONY: binaries
binaries:
	@echo "· building foureyes"
	@$(CARGO) build --workspace --bins
