# Small verbs. Each does the set-up that it needs on a fresh Debian machine; done once, it costs nothing.
#
#   make test     the tests, on real servers, JOBS=3 at a time; ARGS="tests/core -k key" passes on to pytest
#   make faults   the fault injections: minutes, and strace; each with its verdict
#   make check    style, types and the contract
#   make soak     faults of every kind in seeded order; MINUTES=10 SEED=1
#   make demo     sensors, gateway and Kafka on this machine; SECONDS=10 ends by itself
#   make bench    speed against other bridges, into docs/bench/; QUICK=1, ARGS="--only versus,start"
#   make bench-stages   what a reading costs, stage by stage
#   make setup    only what the others begin with
#   make style    ruff: lint and format
#   make types    mypy, strict
#   make contract the contract: everything `gateway run` would trip over, schemas against the commit before, its page
#   make deb      Debian packages for amd64 and arm64 into dist/, with everything inside
#   make wheel    the Python wheel into dist/
#   make test-arm64   the arm64 package, run under emulation: minutes, and root or sudo to install it
#   make test-systemd the package under the real systemd of Debian 12 and 13: minutes, and root
#   make sbom     bill of materials (CycloneDX) into dist/
#   make licenses licences of what a gateway runs on; fails on one that does not fit
#   make audit    known vulnerabilities of what is locked; fails when one package could not be looked up
#   make lock     take the newest Python packages that pyproject.toml allows
#   make clean    remove all that make made here

MINUTES ?= 10
SEED ?= 1
.PHONY: help setup test faults bench bench-stages check style types contract soak demo deb wheel test-arm64
.PHONY: sbom licenses audit lock clean system-run system-test system-arm64 test-systemd system-systemd
.DELETE_ON_ERROR:

PYTHON ?=
ARGS ?=
QUICK ?=
SECONDS ?=
# Tests mostly wait for servers, so one more than there are cores; each has a Kafka and a registry of its own.
JOBS ?= $(shell cores=$$(nproc) && echo $$((cores < 4 ? cores + 1 : 4)))

BIN := .venv/bin
# The locks hold every hash: nothing is installed that was not there when they were made.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-input
LOCKED := $(INSTALL) --require-hashes
FAILED := { echo "Python packages could not be installed; the lines above say why. Is the network there?" >&2; exit 1; }
JAVA := .cache/kafka/.complete .cache/registry/.complete .cache/reader/.complete

help:
	@sed -n 's/^#   //p' Makefile

# Compiled as by an installation: the gateway is started hundreds of times, also where Python may not write that itself.
setup: .venv/.installed-dev $(JAVA) .cache/prometheus/.complete
	@$(BIN)/python -m compileall -q gateway

test: setup
	$(BIN)/pytest -m "not faults" -n $(JOBS) --dist loadfile $(ARGS)

# Apart from the others: they freeze and slow down servers, so a loaded machine can make one of them late. The few that
# no load can make fail are marked `gate`, and part of `make test`: a short soak among them.
faults: setup
	$(BIN)/pytest tests/faults $(ARGS)

check: style types contract

style: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

# A clone may be shallow, or none at all: without a commit before there is nothing that the schemas could have broken.
contract: .venv/.installed-run
	$(BIN)/gateway check
	@if git rev-parse --verify --quiet HEAD~1 > /dev/null 2>&1; then \
		echo "$(BIN)/gateway schemas check --against HEAD~1"; $(BIN)/gateway schemas check --against HEAD~1; \
	else echo "No commit before this one is here: schemas are not compared."; fi
	$(BIN)/gateway docs > /dev/null

demo: .venv/.installed-run | system-run
	@$(BIN)/gateway demo $(if $(SECONDS),--seconds $(SECONDS))

soak: setup
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

# Bridges in Go and Java are built that the gateway is compared with; one that cannot be built is left out.
bench: setup
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

bench-stages: .venv/.installed-dev
	$(BIN)/python -m bench.stages

# The same commit makes the same bytes, whoever builds it: nothing here reads the clock.
deb: .venv/.installed-run
	@$(BIN)/python -m release.deb

wheel: .venv/.installed-run
	@$(BIN)/python -m release.wheels

test-arm64: setup | system-arm64
	$(BIN)/pytest tests/arm64.py $(ARGS)

test-systemd: setup | system-systemd
	$(BIN)/pytest tests/systemd.py $(ARGS)

sbom: .venv/.installed-run
	@$(BIN)/python -m release.sbom

licenses: .venv/.installed-run
	@$(BIN)/python -m release.licences

audit: .venv/.installed-run
	@$(BIN)/python -m release.audit

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Looked at each time, which takes milliseconds: packages come and go without us.
system-run:
	@requirements/system.sh run $(PYTHON)

system-test:
	@requirements/system.sh test $(PYTHON)

system-arm64 system-systemd: system-%:
	@requirements/system.sh $*

$(BIN)/python: | system-run
	@python=$$(requirements/python.sh $(PYTHON)) && "$$python" -m venv .venv

# For deployment run.txt alone is enough: build.txt only makes the package out of this folder.
.venv/.installed-run: requirements/run.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing Python packages into .venv"
	@$(LOCKED) -r requirements/run.txt -r requirements/build.txt || $(FAILED)
	@$(INSTALL) --no-deps --no-build-isolation -e . || $(FAILED)
	@touch $@

.venv/.installed-dev: requirements/dev.txt .venv/.installed-run
	@echo "Installing the development tools into .venv"
	@$(LOCKED) -r requirements/dev.txt || $(FAILED)
	@touch $@

.cache/prometheus/.complete: requirements/prometheus.sh | system-test
	@requirements/prometheus.sh .cache/prometheus

.cache/%/.complete: tests/stack/java/fetch.sh $(wildcard tests/stack/java/*.xml tests/stack/java/*.java) | system-test
	@tests/stack/java/fetch.sh $* .cache/$*

# One lock for every supported Python.
lock: .venv/.installed-run
	@requirements/lock.sh
