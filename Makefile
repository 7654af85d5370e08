# `make run` shows the router at work, `make test` tests it. On Debian and its
# derivatives both install what is missing; you need Rust, make and git.

SHELL := /bin/bash
DEV := deploy/dev
PLUGINS := employee-filter mo-delay redact

.PHONY: help run test docs-test book fuzz deployments cluster mo-faults bench languages lint build plugins deb packages linker
.DEFAULT_GOAL := help

help:
	@echo 'make run          the router with the example plugins and a private RabbitMQ (ONCE=1: end after the samples)'
	@echo 'make test         every test but the long ones'
	@echo 'make docs-test    the documentation: its commands, links and names, as a table'
	@echo 'make book         the documentation as a site with search, in target/book'
	@echo 'make fuzz         a million odd files, checked, compiled, loaded and run; `make test` tries some'
	@echo 'make deployments  a plugin deployed 200 times in each of the ways that people use, as a table'
	@echo 'make cluster      three brokers, a database and two routers, each of which fails, as a table'
	@echo 'make mo-faults    20,000 GraphQL events of MO while routers, the broker and MO fail'
	@echo 'make bench        the benchmarks'
	@echo 'make languages    what plugins of each language take: building, size, compiling, a call; as a table'
	@echo 'make lint         formatting, clippy, dependencies, documentation, shell scripts, Helm chart'
	@echo 'make build        the router'
	@echo 'make deb          the Debian package'
	@echo 'make packages     the Debian package and the container image, each tried in a system of its own'
	@echo 'make plugins      the example plugins in Rust, into plugins/'

run: build plugins
	$(DEV)/run.sh

test: linker
	$(DEV)/test.sh

docs-test: linker
	$(DEV)/packages.sh rabbitmq-server postgresql
	cargo test --release --test suite docs:: -- --nocapture

# On the site, links out of docs/ lead to the repository.
book:
	@command -v mdbook >/dev/null || { echo 'mdBook is needed: cargo install mdbook'; exit 1; }
	rm -rf target/book-src
	mkdir -p target
	cp -r docs target/book-src
	$(DEV)/outward-links.sh target/book-src
	MDBOOK_BOOK__SRC=target/book-src mdbook build

fuzz: linker
	FUZZ=$${FUZZ:-1000000} cargo test --release --test fuzz -- --nocapture

deployments: linker
	$(DEV)/packages.sh rabbitmq-server
	DEPLOYMENTS=$${DEPLOYMENTS:-200} cargo test --release --test suite deployments -- --nocapture

cluster: linker
	$(DEV)/packages.sh rabbitmq-server postgresql
	RATE=$${RATE:-1200} cargo test --release --test suite cluster:: -- --nocapture

mo-faults: linker
	$(DEV)/packages.sh rabbitmq-server
	cargo test --release --test suite mo_faults -- --ignored --nocapture

bench: build plugins
	$(DEV)/packages.sh rabbitmq-server postgresql
	cargo bench

languages: build
	cargo bench --bench languages

lint: linker
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	@for plugin in $(PLUGINS); do $(MAKE) --no-print-directory -C examples/$$plugin lint || exit; done
	$(DEV)/deny.sh
	RUSTDOCFLAGS=-Dwarnings cargo doc --release --no-deps
	@if command -v shellcheck >/dev/null; then shellcheck -x .ci/run deploy/*/*.sh deploy/dev/*/*.sh tests/support/*.sh; else echo 'shellcheck: not installed'; fi
	deploy/helm/test.sh

build: linker
	cargo build --release --config deploy/shipped.toml

plugins: linker
	@for plugin in $(PLUGINS); do $(MAKE) --no-print-directory -C examples/$$plugin install || exit; done

# A package says which commit it was built from.
deb packages: export BUILD_REVISION ?= $(shell git rev-parse HEAD)

deb: build
	deploy/debian/build.sh

packages: build
	deploy/debian/test.sh
	deploy/container/test.sh

# Cargo links with a C compiler, and SQLite is C.
linker:
	@command -v cc >/dev/null || $(DEV)/packages.sh gcc libc6-dev
