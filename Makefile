# Every verb does what it needs, starting from Python >= 3.11 and make.
#
#   make PYTHON=python3.12 ...     another interpreter
#   make PIP_FLAGS="..." ...       further options of pip install (an index, say)
#   make TORCH="..." ...           another build of torch ("torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu", say)
#   make train ARGS="..."          further options of the program behind a verb

PYTHON    ?= python3
PIP_FLAGS ?=
TORCH     ?= torch==2.13.0
ARGS      ?=
CONFIG    ?= models/configs/tiny.toml

SERVING  := .venv
DEV      := .venv-dev
BIN      := $(DEV)/bin
VERSION  := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' service/dragoman/__init__.py)
PROTO    := protos/dragoman/v1/translation.proto
WEIGHTS  := models/checkpoints/tiny.safetensors
EMBLEM   := "The agreement on the European Economic Area was signed in August 1992."
FROZEN   := protos/descriptor_set.binpb
PROTOC   := $(BIN)/python -m grpc_tools.protoc -Iprotos

.DEFAULT_GOAL := help
.PHONY: help setup serve demo test check check-stubs train export evaluate parity release bench drills protos freeze lock sbom image rules clean

help:  ## list the verbs
	@echo "Usage: make VERB"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

## Serving: .venv, without torch

setup: $(SERVING)/.installed  ## make the serving environment

serve: setup  ## run the server on the embedded bundle
	$(SERVING)/bin/dragoman serve $(ARGS)

demo: setup  ## start a server, translate over gRPC, draw the alignment, stop
	$(SERVING)/bin/dragoman demo $(ARGS)

## Development: .venv-dev

test: $(DEV)/.installed  ## run the tests
	$(BIN)/python -m pytest $(ARGS)

check: $(DEV)/.installed  ## lint, types, direction of imports, contract, stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict service/dragoman models tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf breaking --against $(FROZEN)
	$(MAKE) --no-print-directory check-stubs

check-stubs: $(DEV)/.installed
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PROTOC) --python_out="$$fresh" --pyi_out="$$fresh" --grpc_python_out="$$fresh" $(PROTO) && \
	diff -rq -x __init__.py -x __pycache__ "$$fresh/dragoman/v1" service/dragoman/v1 || \
	{ echo "service/dragoman/v1 does not match $(PROTO): run 'make protos' and commit the result" >&2; exit 1; }

train: $(DEV)/.installed  ## train (CONFIG=models/configs/tiny.toml), resuming where it stopped
	$(BIN)/python -m models.corpora.tokenizer $(CONFIG)
	$(BIN)/python -m models.corpora.packing
	$(BIN)/python -m models.corpora.derive
	$(BIN)/python -m models.corpora.joined
	$(BIN)/python -m models.corpora.typed
	$(BIN)/python -m models.corpora.selection
	$(BIN)/python -m models.training.train $(CONFIG) $(ARGS)

export: $(DEV)/.installed  ## write a checkpoint as a bundle
	$(BIN)/python -m models.convert.export $(ARGS)

evaluate: $(DEV)/.installed  ## measure BLEU and chrF through the engine that serves
	$(BIN)/python -m models.evaluation.bleu $(ARGS)

parity: $(DEV)/.installed  ## compare torch, ONNX and int8 on the same sentences
	$(BIN)/python -m models.evaluation.parity $(ARGS)

release: $(DEV)/.installed  ## make a checkpoint the default bundle, measured (CHECKPOINT=.../checkpoint.pt VERSION=...)
	@test -n "$(CHECKPOINT)" -a -n "$(VERSION)" || { echo "usage: make release CHECKPOINT=FILE VERSION=NUMBER" >&2; exit 2; }
	$(BIN)/python -m models.training.checkpoint $(CHECKPOINT) $(WEIGHTS)
	$(BIN)/python -m models.convert.export --checkpoint $(WEIGHTS) --version $(VERSION) $(ARGS)
	$(BIN)/python -m models.evaluation.bleu --write
	$(BIN)/python -m models.evaluation.aer --write
	$(BIN)/python -m models.evaluation.behaviour --write
	$(BIN)/python -m models.evaluation.model_card README.md docs/benchmarks.md
	$(BIN)/dragoman translate --from en --to fr --align --svg docs/alignment.svg $(EMBLEM)
	$(BIN)/python -m models.evaluation.parity

bench: $(DEV)/.installed-bench  ## measure speed
	$(BIN)/python -m pytest -m benchmark --timeout=0 $(ARGS)

drills: $(DEV)/.installed  ## the drills at full size: an hour or two; `make test` runs two per cent of them
	$(BIN)/python -m pytest -m drill --full --timeout=0 $(ARGS)

## The contract

protos: $(DEV)/.installed  ## regenerate the stubs
	$(PROTOC) --python_out=service --pyi_out=service --grpc_python_out=service $(PROTO)

freeze: $(DEV)/.installed  ## after a compatible addition: make it part of the frozen contract
	$(BIN)/buf lint
	$(BIN)/buf breaking --against $(FROZEN)
	$(BIN)/buf build --exclude-source-info -o $(FROZEN)

## Releases

# torch has its own files for each accelerator: see requirements/accelerators.txt.
LOCK := $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--constraint constraints.txt --excludes requirements/accelerators.txt --no-emit-package torch --custom-compile-command 'make lock'
DIST       := dist
DOCKER     ?= docker
BASE_IMAGE ?=

lock: $(DEV)/.installed  ## find the hashes of all that is installed: requirements/*.txt
	$(LOCK) requirements/build.in -o requirements/build.txt
	$(LOCK) pyproject.toml --extra otel -o requirements/serve.txt
	$(LOCK) pyproject.toml --extra otel --extra convert --extra train --extra dev -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra otel --extra convert --extra train --extra dev --extra bench -o requirements/bench.txt

sbom: $(DEV)/.installed  ## write a bill of materials of what the image installs, in CycloneDX: dist/*.cdx.json
	mkdir -p $(DIST)
	$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements/serve.txt --pyproject pyproject.toml \
	--mc-type application --output-reproducible --output-file $(DIST)/dragoman-$(VERSION).cdx.json

image: $(DEV)/.installed  ## build the image to release, on a base named by digest (BASE_IMAGE=python:3.12-slim@sha256:...)
	@echo "$(BASE_IMAGE)" | grep -Eq '@sha256:[0-9a-f]{64}$$' || \
	{ echo "usage: make image BASE_IMAGE=NAME@sha256:DIGEST; a tag may be another image tomorrow" >&2; exit 2; }
	$(MAKE) --no-print-directory sbom
	$(DOCKER) build --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(VERSION) \
	--build-arg REVISION=$$(git rev-parse HEAD) --tag dragoman:$(VERSION) .

## Deployment

RULES := deploy/monitoring/rules
RUNBOOK_URL ?=

rules:  ## make the PrometheusRules for Kubernetes of the plain rule files (RUNBOOK_URL=https://... is where alerts point to)
	@test -z "$(RUNBOOK_URL)" || for file in $(RULES)/alerts.yaml deploy/monitoring/tests/*.yaml; do \
	sed 's|\(runbook_url: \).*#|\1$(subst &,\&,$(RUNBOOK_URL))#|' $$file > $$file.new && mv $$file.new $$file; done
	@for name in recording alerts; do \
	printf -- '---\n# Made of rules/%s.yaml by `make rules`.\n' $$name; \
	printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: dragoman-%s\nspec:\n' $$name; \
	sed 's/^/  /' $(RULES)/$$name.yaml; done > deploy/monitoring/prometheus-rules.yaml

clean:  ## remove caches and build outputs; environments and models stay
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find service models tests -name __pycache__ -type d -prune -exec rm -rf {} +

## Environments, made again when the requirements change

# Nothing is installed that the locks do not know, torch aside.
PIP      := python -m pip install --quiet --disable-pip-version-check
HASHED   := $(PIP) --require-hashes -r requirements/build.txt
IN_PLACE := $(PIP) --no-deps --no-build-isolation -e .

$(SERVING)/bin/python $(DEV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python >= 3.11 is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(dir $(@D))

$(SERVING)/.installed: pyproject.toml requirements/build.txt requirements/serve.txt | $(SERVING)/bin/python
	$(SERVING)/bin/$(HASHED) $(PIP_FLAGS) -r requirements/serve.txt
	$(SERVING)/bin/$(IN_PLACE)
	@touch $@

$(DEV)/.installed: pyproject.toml requirements/build.txt requirements/dev.txt | $(DEV)/bin/python
	$(BIN)/$(HASHED) $(PIP_FLAGS) -r requirements/dev.txt
	$(BIN)/$(PIP) $(PIP_FLAGS) -c constraints.txt $(TORCH)
	$(BIN)/$(IN_PLACE)
	@touch $@

$(DEV)/.installed-bench: $(DEV)/.installed requirements/bench.txt
	$(BIN)/$(HASHED) $(PIP_FLAGS) -r requirements/bench.txt
	@touch $@
