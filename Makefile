# Everything is set up from nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
NPM := $(BIN)/python -m reelmesh_tools.npm
export UV_NO_PROGRESS := 1

.PHONY: setup web demo screens test check protos lock clean

setup: $(VENV)/ready web  ## Install everything that the platform needs; `reelmesh up` fetches the JVM servers

web: gateway/web/dist/ready  ## Build the web player

$(VENV)/ready: requirements.lock bootstrap.lock pyproject.toml
	@echo "setup: Python packages"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

gateway/web/node_modules/ready: gateway/web/package-lock.json $(VENV)/ready
	@echo "setup: web packages"
	@# Not `npm ci`: it demands that the lock names the binaries of every platform, which not every registry carries.
	@$(NPM) install --no-save --loglevel=error
	@touch $@

gateway/web/dist/ready: gateway/web/node_modules/ready $(shell find gateway/web/src gateway/web/public gateway/web/*.html gateway/web/*.ts -type f 2>/dev/null)
	@echo "setup: web player"
	@$(NPM) run --silent build
	@touch $@

demo: setup  ## Upload a film, encode it, and print where to watch it: make demo [FILE=film.mp4]
	@$(BIN)/reelmesh up
	@$(BIN)/python -m reelmesh_tools.demo $(if $(FILE),"$(FILE)")

screens: setup  ## Take the pictures in docs/ of a platform that has a library and was watched by `reelmesh simulate`
	@$(BIN)/python -m reelmesh_tools.screens

test: setup  ## Run every test, on real servers
	@$(BIN)/python -m reelmesh_tools.extras
	@$(NPM) test --silent
	$(BIN)/python -m pytest

check: setup  ## Everything that can be said of the code without running it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m reelmesh_tools.protos lint
	$(BIN)/python -m reelmesh_tools.protos breaking
	$(BIN)/python -m reelmesh_tools.protos
	@git diff --exit-code --stat -- services envoy gateway/web/src/gen \
	  || { echo "generated files are stale: run make protos and commit"; exit 1; }
	$(BIN)/python -m reelmesh_gateway --check
	@$(NPM) run --silent check

protos:  ## Generate code and configuration from the contracts
	$(BIN)/python -m reelmesh_tools.protos
	$(BIN)/python -m reelmesh_gateway

lock:  ## Resolve the Python dependencies anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --group dev pyproject.toml -o requirements.lock
	echo uv | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links - -o bootstrap.lock

clean:  ## Stop the local platform and remove what was built
	-@[ ! -x $(BIN)/reelmesh ] || $(BIN)/reelmesh down
	rm -rf $(VENV) build gateway/web/node_modules gateway/web/dist
