# Every target first brings .venv up to date (scripts/setup.py); when it is, that takes a fraction of a second.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo serve test check format bench bench-demo bench-tofu bench-reference bench-decode bench-probe bench-fuzz bench-edge bench-durability bench-soak bench-routing fit-routing bench-scale bench-icul background docs

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

setup: ## create or update .venv
	@$(PYTHON) scripts/setup.py

demo: setup ## start the guarded server, forget a target live, print the table
	$(BIN)/lethe demo

serve: setup ## serve the reference model with the guard in it
	$(BIN)/lethe serve

test: check ## everything: checks, then the whole test suite
	$(BIN)/python -m pytest

check: setup ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## apply formatting and safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## run every benchmark; results land in benchmarks/results
	set -e; for script in benchmarks/*.py; do $(BIN)/python -m benchmarks.$$(basename $$script .py); done

bench-demo: setup ## the demo, with its figures in benchmarks/results/demo.json
	$(BIN)/lethe demo --json > benchmarks/results/demo.json

bench-tofu: setup ## forget and retain quality on the TOFU text
	$(BIN)/python benchmarks/tofu.py

bench-reference: setup ## quality of the shipped reference models
	$(BIN)/python benchmarks/reference.py

bench-decode: setup ## what decoding under the guard costs, beside its peers
	$(BIN)/python -m benchmarks.decode

bench-probe: setup ## what leaks from vLLM, from vLLM with bad_words, and from the guarded server
	$(BIN)/python -m benchmarks.probe

bench-fuzz: setup ## a million disguised strings through the stream filter
	$(BIN)/python -m benchmarks.fuzz

bench-edge: setup ## what the guard adds around the engine, in milliseconds
	$(BIN)/python -m benchmarks.edge

bench-durability: setup ## 100 times kill -9 amid changes, on SQLite and on PostgreSQL
	$(BIN)/python -m benchmarks.durability

bench-soak: setup ## 200 streams while targets change each second
	$(BIN)/python -m benchmarks.soak --control

bench-routing: setup ## which prompts the classifier flags: recall, false positives, attacks, baselines
	$(BIN)/python -m benchmarks.routing

fit-routing: setup ## fit the weights by which the classifier weighs evidence
	$(BIN)/python -m benchmarks.routing --fit

bench-scale: setup ## the classifier with 1,000 to 1,000,000 targets: memory, build time, latency
	$(BIN)/python -m benchmarks.scale

bench-icul: setup ## in-context unlearning, by a likelihood-ratio test on the reference model
	$(BIN)/python -m benchmarks.icul

background: setup ## make the corpus of benign prompts anew from its material
	$(BIN)/python scripts/background.py

docs: setup ## regenerate the generated pages of docs
	$(BIN)/python scripts/docs.py
