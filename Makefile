# Everything works on a fresh machine with Python 3.11+ and make, also in a path with
# spaces: programs are called as `python -m`, since a script's first line can't hold one.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
PYTEST_ARGS ?= -n 3 --dist worksteal
# Of wide sweeps (the marker) a fixed part; `make sweeps` runs all of them.
SAMPLE ?= --sample
# Compiled code is kept: each script that a test runs would else be compiled again.
unexport PYTHONDONTWRITEBYTECODE
PIP := -m pip --disable-pip-version-check --quiet

# Every target that `make help` names is no file.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(MAKEFILE_LIST))

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "installing the development environment with SQLAlchemy 2.1 into .venv"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/python $(PIP) install --upgrade "pip>=25.1"
	@.venv/bin/python $(PIP) install --group latest --group test --group lint --group packaging
	@touch $@

.venv-floor/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@echo "installing the development environment with SQLAlchemy 2.0 into .venv-floor"
	@$(PYTHON) -m venv --clear .venv-floor
	@.venv-floor/bin/python $(PIP) install --upgrade "pip>=25.1"
	@.venv-floor/bin/python $(PIP) install --group floor --group test --group lint
	@touch $@

demo: .venv/installed ## Build a small FastAPI project in demo/ with the skill and talk to it
	@.venv/bin/python examples/demo/run.py

# A commit, or a tree; the files as they lie are not packed.
REVISION ?= HEAD
DIST ?= dist
SKILL := async-sqlalchemy-patterns
dist: ## Build the slim skill, without tests and CI, as a tarball and a ZIP file in dist/
	@mkdir -p "$(DIST)"
	@version=$$(git show "$(REVISION):pyproject.toml" | sed -n 's/^version = "\(.*\)"$$/\1/p'); \
	for form in tar.gz zip; do \
	  file="$(DIST)/$(SKILL)-$$version.$$form"; \
	  git archive -9 --prefix=$(SKILL)/ --output="$$file" "$(REVISION)" || exit 1; \
	  echo "$$file: $$(($$(wc -c <"$$file") / 1024)) KB"; \
	done

quick: .venv/installed ## Run the tests that need no server and start no program
	.venv/bin/python -m pytest --quick $(PYTEST_ARGS)

test: .venv/installed ## Run the tests on SQLAlchemy 2.1, of wide sweeps a fixed sample
	.venv/bin/python -m pytest $(SAMPLE) $(PYTEST_ARGS)

test-floor: .venv-floor/installed ## Run on SQLAlchemy 2.0 what may differ there
	.venv-floor/bin/python -m pytest $(SAMPLE) $(PYTEST_ARGS)

lint: .venv/installed ## Check style, types and shell scripts
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/shellcheck -x scripts/*.sh .ci/run
	@.venv/bin/python -c 'text = open("SKILL.md", encoding="utf-8").read(); \
	  print(f"SKILL.md: {text.count(chr(10))} lines, at most {len(text) / 3.5:.0f} tokens")'

format: .venv/installed ## Format the code
	.venv/bin/python -m ruff format .
	.venv/bin/python -m ruff check --fix .

check: ## Lint, then the tests on SQLAlchemy 2.1, and on 2.0 what may differ there
	@# Installing and type checking use one core each.
	@$(MAKE) --no-print-directory --jobs=2 lint .venv-floor/installed
	@# The slowest are told, so that growth is seen (#10).
	@$(MAKE) --no-print-directory test test-floor PYTEST_ARGS="$(PYTEST_ARGS) --durations=20"

sweeps: .venv/installed .venv-floor/installed ## Run what the samples leave out (before a release)
	.venv/bin/python -m pytest -m sweep $(PYTEST_ARGS)
	.venv-floor/bin/python -m pytest $(PYTEST_ARGS)

commands: .venv/installed ## Write references/commands.md from the scripts' own --help
	@PYTHONPATH=scripts .venv/bin/python tests/documents/commands.py

picture: .venv/installed ## Draw the picture of README.md from what the scripts print
	@.venv/bin/python tests/documents/picture.py

PLACES ?= 60
mutants: .venv/installed ## Break templates and toolkit at PLACES=60 places and see which tests notice (an hour)
	.venv/bin/python tests/benchmarks/mutants.py --places $(PLACES)

evals: .venv/installed ## Prove the checkers of the agent's tasks, on right and wrong answers
	@.venv/bin/python evals/run.py

CELLS ?=
matrix: .venv/installed ## One small project with each Python, library and database: make matrix [CELLS="Alembic"]
	@.venv/bin/python tests/benchmarks/matrix.py $(CELLS)

forms: .venv/installed ## Carry out every form that the review of migrations prints, under writers
	@set -o pipefail; .venv/bin/python -m pytest tests/scripts/test_review_postgresql.py \
	  -k under_writers -s -n 0 | awk '{print} /form: / {n++} END {print n + 0 " forms were right"}'

SECONDS ?= 600
soak: .venv/installed ## Move money while servers and processes fail, then count it: make soak SECONDS=600
	.venv/bin/python tests/faults/soak.py --seconds $(SECONDS)

CANCELLATIONS ?= 5000
cancellations: .venv/installed ## Cancel requests at random moments, 5,000 on each database
	CANCELLATIONS=$(CANCELLATIONS) .venv/bin/python -m pytest -n 0 tests/faults/test_cancellations.py

.venv-api/installed: pyproject.toml
	@$(PYTHON) -m venv --clear .venv-api
	@.venv-api/bin/python $(PIP) install --upgrade "pip>=25.1"
	@.venv-api/bin/python $(PIP) install --group latest --group api
	@touch $@

EXAMPLES ?= 200
api: .venv-api/installed ## Have schemathesis look for a 5xx of the example service (EXAMPLES=200 each)
	.venv-api/bin/python tests/benchmarks/fuzz_api.py $(EXAMPLES)

WILD ?=
zoo: .venv/installed ## Compare env.py with plain Alembic, on all that models have, or on WILD=200 by chance
	@[ -z "$(WILD)" ] || [ -d .zoo ] || .venv/bin/python $(PIP) install --target .zoo "hypothesis>=6.170"
	WILD=$(WILD) PYTHONPATH=$(if $(WILD),.zoo) .venv/bin/python tests/zoo/compare.py

.venv-bench/installed: pyproject.toml
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python $(PIP) install --upgrade "pip>=25.1"
	@.venv-bench/bin/python $(PIP) install --group latest --group bench
	@touch $@

bench: .venv-bench/installed ## Measure a request over HTTP beside raw asyncpg and other session layers (5 minutes)
	.venv-bench/bin/python tests/benchmarks/bench_sessions.py
	.venv-bench/bin/python tests/benchmarks/bench_observing.py

bench-bulk: .venv-bench/installed ## Measure rows in and out beside the driver's own, pages, and cost against size
	.venv-bench/bin/python tests/benchmarks/bench_bulk.py

bench-migrations: .venv/installed ## Compare the review of migrations with other tools, on one corpus
	.venv/bin/python tests/benchmarks/bench_migrations.py

bench-capture: .venv/installed ## Measure what watching costs a test-suite (at most 10 percent)
	.venv/bin/python tests/benchmarks/bench_capture.py

bench-cured: .venv/installed ## Measure how much faster the planted application is, cured as the fixes say
	.venv/bin/python tests/benchmarks/bench_cured.py

bench-reading: .venv/installed ## Measure how long it takes to read projects of 100, 300 and 1,000 files
	.venv/bin/python tests/benchmarks/bench_reading.py

bench-downtime: .venv/installed ## Measure how long requests wait while 500,000 rows are migrated, written and naive
	.venv/bin/python tests/benchmarks/bench_downtime.py

KEEP ?= $(or $(TMPDIR),/tmp)/try-projects
try-projects: .venv/installed ## Run the scripts on checkouts: make try-projects PROJECTS="DIR ..." (starts their code)
	.venv/bin/python tests/benchmarks/try_projects.py --keep "$(KEEP)" $(PROJECTS)

SYSTEM_DEPS := mariadb-server-core mariadb-client-core pgbouncer chromium chromium-driver wrk
system-deps: ## Install servers and a browser for the tests (Debian, Ubuntu)
	@if command -v apt-get >/dev/null; then \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  hypopg=$$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sed 's|.*/postgresql/\([0-9]*\)/bin|postgresql-\1-hypopg|'); \
	  missing=$$(for name in $(SYSTEM_DEPS) $$hypopg; do dpkg -s $$name >/dev/null 2>&1 || echo $$name; done); \
	  if [ -z "$$missing" ]; then echo "the servers and the browser are there"; exit 0; fi; \
	  $$sudo apt-get update -qq && \
	  $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    $$missing; \
	elif command -v mariadbd >/dev/null; then \
	  echo "MariaDB is there"; \
	else \
	  echo "No apt-get here: install MariaDB's server yourself, or set TEST_MYSQL_URL." >&2; exit 1; \
	fi
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory .npm/installed; \
	else echo "No npm here: the tests of \`npx skills add\` are left out."; fi

# The client of `npx skills`, and the Node that it wants: distributions have an older one.
SKILLS_CLIENT := skills@1.7.4 node-linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)@22.23.3
.npm/installed: Makefile
	@mkdir -p .npm
	@npm install --prefix .npm --no-save --no-audit --no-fund --silent $(SKILLS_CLIENT)
	@touch $@

clean: ## Remove the environments and caches (not demo/)
	rm -rf .venv .venv-floor .venv-bench .venv-api .npm .zoo .mypy_cache .ruff_cache .pytest_cache
