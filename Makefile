# make start   set up if need be, then run the studio
# make install set up alone
# make test    everything: checks and all tests      make check   format, lint, types, fast tests
PYTHON ?= python3
HOME_MODELS = $(or $(STUDIO_MODELS),$(or $(STUDIO_HOME),$(HOME)/.adapter-studio)/models)
BIN = .venv/bin
# a file's tests share what they start, so a file stays together; in the order of their names, which has the long ones first
SIDE_BY_SIDE = -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: start install test check chromium

start: install
	@$(BIN)/studio up

install: .venv/installed $(HOME_MODELS)/starter/config.json

# torch first and pinned: an open range would pull gigabytes of another build
.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Adapter Studio needs Python 3.11 or newer.')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet torch==2.13.0
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint requirements.lock --editable .
	@touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint requirements.lock --editable ".[test]"
	@touch $@

$(HOME_MODELS)/starter/config.json: | .venv/installed
	$(BIN)/python -m workers.starter --models $(HOME_MODELS)

check: .venv/tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow"

test: .venv/tested chromium $(HOME_MODELS)/starter/config.json
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	STUDIO_MODELS=$(HOME_MODELS) $(BIN)/pytest $(SIDE_BY_SIDE) --durations 20

chromium:
	@command -v chromium >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	  else echo "The browser tests need Chromium: sudo apt-get install chromium"; exit 1; fi; }
