# Each target does the set-up that it needs on a fresh Debian machine; a second run skips it.
#
#   make test     run the tests on real servers, JOBS=6 at a time; ARGS="tests/core -k key" goes to pytest
#   make faults   run all fault injections: takes minutes, and needs strace
#   make check    check style, types and the contract
#   make proof    kill gateways of both modes and write docs/proof.md; SECONDS=60 a run, SEED=1
#   make soak     inject faults of every kind in seeded order; MINUTES=10 SEED=1
#   make fuzz-native   fuzz the module in C, with checks of each access to memory; SECONDS=60 SEED=1
#   make demo     run sensors, gateway and Kafka on this machine, until Ctrl-C or for SECONDS=10
#   make bench    compare the speed with other bridges, keep the run and write docs/bench/; QUICK=1 and ARGS="--only versus" write nothing
#   make bench-stages   measure the cost of a reading per stage
#   make setup    only the set-up of the other targets
#   make style    lint and check the format, with ruff
#   make types    check the types, with mypy in strict mode
#   make contract check the contract, compare its schemas with the commit before, and build its page
#   make deb      build Debian packages for amd64 and arm64 with all dependencies, into dist/
#   make wheel    build the Python wheels, into dist/: for amd64, for arm64, and one without C for all others
#   make image    build the container image (OCI) from Debian packages, into dist/; needs root or subordinate ids
#   make test-image   build and run the container image: takes minutes, needs root
#   make test-arm64   run the arm64 package in emulation: takes minutes; installing the emulator needs root or sudo
#   make test-systemd run the package under the real systemd of Debian 12, 13 and testing: takes minutes, needs root
#   make sbom     write the bill of materials (CycloneDX), into dist/
#   make licenses check the licences of the packages that a gateway needs; fail on an incompatible one
#   make audit    look up known vulnerabilities of the locked packages; fail if one package could not be looked up
#   make lock     lock the newest Python packages that pyproject.toml allows
#   make clean    remove everything that make created here

# Compiled files are kept, whatever the shell says: otherwise each job of the tests compiles all of them.
unexport PYTHONDONTWRITEBYTECODE
MINUTES ?= 10
SEED ?= 1
.PHONY: help setup test faults fuzz-native bench bench-stages check style types contract soak proof demo deb wheel test-arm64
.PHONY: image test-image system-image sbom licenses audit lock clean system-run system-test system-arm64 test-systemd system-systemd system-compilers
.DELETE_ON_ERROR:

PYTHON ?=
ARGS ?=
QUICK ?=
SECONDS ?=
# Tests wait for servers much of the time, so there are more jobs than cores.
JOBS ?= $(shell cores=$$(nproc) && echo $$((cores < 2 ? 2 : cores < 3 ? 6 : 8)))

BIN := .venv/bin
# The locks hold every hash: only the very files that were locked are installed.
# Python compiles what is imported; pip would compile everything, while nothing else can run.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-input --no-compile
LOCKED := $(INSTALL) --require-hashes
FAILED := { echo "Python packages could not be installed; see the lines above. Check the network." >&2; exit 1; }
CHECKS := types style contract
# `make check test` checks while it sets up: each alone would leave a core idle.
CHECKS_BESIDE := $(if $(and $(filter check,$(MAKECMDGOALS)),$(filter test,$(MAKECMDGOALS))),$(CHECKS))
JAVA := .cache/kafka/.complete .cache/registry/.complete .cache/reader/.complete
SERVERS := $(JAVA) .cache/kafka/classes.jsa .cache/prometheus/.complete

help:
	@sed -n 's/^#   //p' Makefile

# Downloads of Maven and of pip run at the same time. Compile the gateway as an installation does: the tests start it
# hundreds of times, also where Python may not write.
setup: | system-test
	@$(MAKE) --silent --jobs=3 .venv/.installed-dev $(CHECKS_BESIDE) .venv/.compiled-tests $(SERVERS)
	@$(BIN)/python -m compileall -q gateway

# pytest rewrites each test file and keeps the result. Once here, beside the downloads, is cheaper than in each job.
.venv/.compiled-tests: .venv/.installed-dev
	@$(BIN)/pytest -q --collect-only > /dev/null 2>&1 || true  # `make test` shows what cannot be collected
	@touch $@

# A job takes whole files, in the order that tests/conftest.py sets; it also says which go together.
test: setup
	$(BIN)/pytest -m "not faults" -n $(JOBS) --no-loadscope-reorder $(ARGS)

# These tests freeze and slow down servers, so a loaded machine can delay them beyond their deadlines. The few that no
# load can make fail are marked `gate` and are part of `make test`; a short soak is one of them.
faults: setup
	$(BIN)/pytest tests/faults $(ARGS)

check: $(if $(CHECKS_BESIDE),setup,$(CHECKS))

style: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-dev
	$(BIN)/mypy

# In a shallow clone, or outside git, there is no earlier commit to compare the schemas with.
contract: .venv/.installed-run
	$(BIN)/gateway check
	@if git rev-parse --verify --quiet HEAD~1 > /dev/null 2>&1; then \
		echo "$(BIN)/gateway schemas check --against HEAD~1"; $(BIN)/gateway schemas check --against HEAD~1; \
	else echo "There is no earlier commit here: schemas are not compared."; fi
	$(BIN)/gateway docs > /dev/null

demo: .venv/.installed-run | system-run
	@$(BIN)/gateway demo $(if $(SECONDS),--seconds $(SECONDS))

soak: setup
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --seed $(SEED)

# Kills gateways of both modes and writes docs/proof.md; SECONDS for each run.
proof: setup
	$(BIN)/python -m tests.faults.proof --seconds $(or $(SECONDS),60) --seed $(SEED)

# Builds the bridges in Go, Java and Rust that the gateway is compared with; a bridge that cannot be built is skipped.
bench: setup
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

# Fuzzes a build of native/ that checks each access to memory; SECONDS for each fuzzer.
fuzz-native: setup
	$(BIN)/python -m tests.fuzz.sanitized --seconds $(or $(SECONDS),60) --seed $(SEED)

bench-stages: .venv/.installed-dev
	$(BIN)/python -m bench.stages

# Builds are reproducible: the same commit gives the same bytes, and nothing here reads the clock.
deb: .venv/.installed-run | system-compilers
	@$(BIN)/python -m release.deb

wheel: .venv/.installed-run | system-compilers
	@$(BIN)/python -m release.wheels

image: .venv/.installed-run | system-image system-compilers
	@$(BIN)/python -m release.image $(ARGS)

test-image: .venv/.installed-dev | system-image
	$(BIN)/pytest tests/image.py $(ARGS)

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

# Checked each time, which takes milliseconds, because Debian packages can be removed at any time.
system-run:
	@requirements/system.sh run $(PYTHON)

system-test:
	@requirements/system.sh test $(PYTHON)

system-arm64 system-systemd system-image system-compilers: system-%:
	@requirements/system.sh $*

$(BIN)/python: | system-run
	@python=$$(requirements/python.sh $(PYTHON)) && "$$python" -m venv .venv

# A deployment needs run.txt only; build.txt is for building the package from this folder, which compiles native/ where
# there is a C compiler with Python's headers.
.venv/.installed-run: requirements/run.txt requirements/build.txt pyproject.toml $(wildcard native/*.py native/*.[ch]) | $(BIN)/python
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

.cache/kafka/classes.jsa: .cache/kafka/.complete | .venv/.installed-dev
	@$(BIN)/python -m tests.stack.archive

.cache/%/.complete: tests/stack/java/fetch.sh $(wildcard tests/stack/java/*.xml tests/stack/java/*.java) | system-test
	@tests/stack/java/fetch.sh $* .cache/$*

# One lock for every supported Python.
lock: .venv/.installed-run
	@requirements/lock.sh
