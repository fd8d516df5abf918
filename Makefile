# What a person types and what CI runs. Works from any directory: make -C path/to/voxgate demo

ROOT := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
PYTHON ?= python3
VENV := $(ROOT)/.venv
BIN := $(VENV)/bin
# pip, with a line that says what it does; the word after it is the name of what is installed.
INSTALL := $(BIN)/python $(ROOT)/tools/install.py
NATIVE := $(shell find $(ROOT)/ext -name '*.pyx' -o -name '*.pxd' -o -name '*.h')

# Arguments for the tools behind the targets: make demo ARGS=--keep, make test ARGS='-k ring -x', make serve ARGS='--model dummy'
ARGS ?=
# The model of demo and serve: make demo MODEL=pocketsphinx
MODEL ?=
FLAGS = $(if $(MODEL),--model '$(MODEL)') $(ARGS)
# What it needs beyond Voxgate: the extra of its name (onnx:FILE -> onnx, faster-whisper:SIZE -> whisper).
EXTRA = $(filter moonshine onnx openai pocketsphinx wakeword whisper,$(patsubst faster-whisper,whisper,$(firstword $(subst :, ,$(MODEL)))))
# Without a model, moonshine: it understands words. Where it cannot be installed, the server says so and serves features.
NEEDED = $(VENV)/.ready $(addprefix $(VENV)/.extra-,$(if $(MODEL),$(EXTRA),moonshine))

# bench-load, bench-curves, bench-scale, bench-turns: a few cases and minutes, in place of twenty and nine
QUICK ?=
BENCH_RUN = mkdir -p $(ROOT)/build && cd $(ROOT) && $(BIN)/python -m pytest --benchmark-only --benchmark-group-by=group \
	--benchmark-sort=min --benchmark-columns=min,median,ops --benchmark-max-time=0.5 --benchmark-json=build/bench.json

# compat-versions: a file of tests for each seam, in place of all server and client tests; compat: three SDKs of five
SMOKE ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-cluster serve test test-cluster bench-cluster smart-turn turn-prompts compat compat-versions bench bench-baseline bench-load bench-curves bench-streams bench-batching bench-isolation bench-overload bench-page bench-scale bench-turns bench-wer lint types wheel release sanitize fuzz hostile clients soak pictures speech docs reference docs-serve docs-figures diagrams proto clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(ROOT)/Makefile | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## the virtual environment with Voxgate and everything its development needs

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "voxgate needs Python 3.11 or newer, and %s is %s; name another with PYTHON=" % (sys.executable, sys.version.split()[0]))'
	@echo "Setting up $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) "pip" --upgrade pip
	@touch $@

$(VENV)/.packages: $(VENV)/.python $(ROOT)/pyproject.toml
	@cd $(ROOT) && $(BIN)/python $(ROOT)/tools/requirements.py build dev > $(VENV)/requirements.txt
	@$(INSTALL) "libraries and tools" -r $(VENV)/requirements.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.packages $(ROOT)/setup.py $(NATIVE)
	@echo "Building the compiled core (half a minute) ..."
	@cd $(ROOT) && $(INSTALL) "the compiled core" --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(NEEDED) ## start the server, stream human speech through it, print its words beside what was said; MODEL=features, ARGS=--keep
	@$(BIN)/voxgate demo $(FLAGS)

serve: $(NEEDED) ## start the server on http://127.0.0.1:8080, with a page that writes down what you say; MODEL=features
	@$(BIN)/voxgate serve $(FLAGS)

$(VENV)/.extra-moonshine: $(VENV)/.packages
	@$(BIN)/python $(ROOT)/tools/requirements.py moonshine > $(VENV)/requirements-moonshine.txt
	@if $(INSTALL) "moonshine, for English words" --retries 1 -r $(VENV)/requirements-moonshine.txt; then touch $@; \
		else echo "moonshine cannot be installed: the server says why, and serves another model"; fi

$(VENV)/.extra-%: $(VENV)/.packages
	@cd $(ROOT) && $(BIN)/python $(ROOT)/tools/requirements.py $* > $(VENV)/requirements-$*.txt
	@$(INSTALL) "the extra $*" -r $(VENV)/requirements-$*.txt
	@touch $@

# One process for each CPU, at most four; the tests of a file stay together. PARALLEL= for one process alone.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile

ifdef COVERAGE
COVERED := -m coverage run
endif
# pytest exits with 1 when tests failed, and with 3 when one of its processes crashed (tests/helpers/crashed_workers.py). A test that failed
# beside others, on a machine that was busy with them, runs once more, alone; a crash is a fault on any machine.
ifneq ($(strip $(PARALLEL)),)
AGAIN = || { [ $$? = 1 ] && printf '\n== once more, one by one: the tests that failed\n' && \
	$(BIN)/python $(COVERED) -m pytest --last-failed --last-failed-no-failures none --maxfail 5 $(ARGS); }
endif

test: $(VENV)/.ready $(VENV)/.extra-moonshine ## all tests; COVERAGE=1: and which lines of the Python code they run; fewer than the floor in pyproject.toml fail
	@$(if $(COVERAGE),rm -rf $(ROOT)/build/coverage)
	@cd $(ROOT) && $(BIN)/python $(COVERED) -m pytest $(PARALLEL) $(ARGS) $(AGAIN)
ifdef COVERAGE
	@cd $(ROOT) && $(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report --skip-covered
endif

# Smart Turn v3.2 (BSD-2-Clause), which its authors ship in a wheel. From the package index, nothing is installed.
SMART_TURN := $(ROOT)/build/smart-turn/smart-turn-v3.2-cpu.onnx
SMART_TURN_SHA256 := 2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f

smart-turn: $(SMART_TURN) ## the network of turn.detector=smart-turn:PATH, to build/smart-turn, for its tests and benchmarks

$(SMART_TURN): $(VENV)/.python
	@mkdir -p $(@D)
	@$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) pipecat-ai==1.14.0
	@cd $(@D) && $(BIN)/python -m zipfile -e pipecat_ai-1.14.0-py3-none-any.whl wheel
	@echo "$(SMART_TURN_SHA256)  $(@D)/wheel/pipecat/audio/turn/smart_turn/data/$(@F)" | sha256sum --check --quiet
	@mv $(@D)/wheel/pipecat/audio/turn/smart_turn/data/$(@F) $@ && rm -r $(@D)/wheel $(@D)/*.whl

# Debian's package with the prompts of a telephone system (CC-BY-SA-3.0), which is unpacked here and not installed.
TURN_PROMPTS := $(ROOT)/build/turn-prompts
turn-prompts: $(VENV)/.packages ## 131 spoken sentences for bench-turns, to build/turn-prompts, where apt-get is
	@mkdir -p $(TURN_PROMPTS)/package
	@cd $(TURN_PROMPTS)/package && apt-get download --quiet=2 asterisk-core-sounds-en-g722 && dpkg-deb -x asterisk-core-sounds-en-g722_*.deb .
	@$(BIN)/python $(ROOT)/bench/turn_prompts.py $(TURN_PROMPTS)/package
	@rm -r $(TURN_PROMPTS)/package

test-cluster: $(VENV)/.extra-ray ## the engine on Ray, with its faults, on clusters of two nodes in a network namespace of their own (Linux)
	@cd $(ROOT) && $(BIN)/python -m tools.ray_nodes $(BIN)/python -m pytest tests/cluster -m cluster $(ARGS)

demo-cluster: $(VENV)/.extra-ray ## two servers, two Ray nodes, speech through both; a replica and a node are killed in mid-speech
	@cd $(ROOT) && $(BIN)/python bench/cluster/demo.py $(ARGS)

bench-cluster: $(VENV)/.extra-ray ## what a call costs on threads, in processes and on Ray; one server and N replicas; the time to a second replica
	@cd $(ROOT) && $(BIN)/python bench/cluster/calls.py $(ARGS)

compat-versions: $(VENV)/.ready ## the server and client tests with the oldest and the newest uvicorn, websockets, starlette, msgspec; SMOKE=1
	@cd $(ROOT) && $(BIN)/python tools/versions.py $(if $(SMOKE),--smoke) -- $(ARGS)

# The SDKs of other services; each has an environment of its own, because they disagree about their dependencies.
SDKS = $(if $(SMOKE),deepgram assemblyai openai,$(basename $(notdir $(wildcard $(ROOT)/tests/compat/requirements/*.txt))))

compat: $(VENV)/.ready $(VENV)/.extra-moonshine $(SDKS:%=$(ROOT)/build/compat/%/.ready) ## the real clients of other services against a real server with a real model; SMOKE=1: the three SDKs alone
	@cd $(ROOT) && $(BIN)/python -m pytest tests/compat $(ARGS)

$(ROOT)/build/compat/%/.ready: $(ROOT)/tests/compat/requirements/%.txt
	@echo "Installing the SDKs of $* ..."
	@$(PYTHON) -m venv $(@D) && $(@D)/bin/python -m pip install --quiet -r $< && touch $@

bench: $(VENV)/.bench ## the benchmarks, each kernel beside what one would use instead; the ratios, and which of them fell below the baseline
	@$(BENCH_RUN) $(if $(filter bench/%,$(ARGS)),,bench) $(ARGS)
	@cd $(ROOT) && $(BIN)/python tools/bench_ratios.py build/bench.json --baseline bench/baseline.json > build/bench.md; \
		code=$$?; cat build/bench.md; exit $$code

bench-baseline: $(VENV)/.bench ## measure and keep the ratios that `make bench` compares with; for a machine with nothing else to do
	@$(BENCH_RUN) bench
	@cd $(ROOT) && $(BIN)/python tools/bench_ratios.py build/bench.json --baseline bench/baseline.json --write-baseline

bench-load: $(VENV)/.bench ## how many live streams a core serves, beside a plain server: tables and pictures of the docs; QUICK=1: does it work?
	@cd $(ROOT) && $(BIN)/python bench/load/suite.py $(if $(QUICK),--quick) --out build/load.json $(ARGS)
	@cd $(ROOT) && $(BIN)/python bench/load/report.py build/load.json

bench-curves: $(VENV)/.bench ## what a stream costs, from one to as many as a core bears; idle ones, the start, two processes; QUICK=1
	@cd $(ROOT) && $(BIN)/python bench/load/curves.py $(if $(QUICK),--quick) --out build/curves.json $(ARGS)
	@cd $(ROOT) && $(BIN)/python bench/load/report.py build/curves.json

bench-streams: $(VENV)/.ready ## many live streams on one server: are all results there, in order, and is the loop ever held?
	@cd $(ROOT) && $(BIN)/python bench/many_streams.py $(ARGS)

bench-batching: $(VENV)/.ready ## many streams on one batching model, through real sockets: batches, latency, fairness
	@cd $(ROOT) && $(BIN)/python bench/batching.py $(ARGS)

bench-overload: $(VENV)/.ready ## twice as many streams as the model can serve: latency of those let in, refusals of the others
	@cd $(ROOT) && $(BIN)/python bench/overload.py $(ARGS)

bench-isolation: $(VENV)/.ready ## a model that crashes and hangs in worker processes; a model that holds the GIL
	@cd $(ROOT) && $(BIN)/python bench/isolation.py $(ARGS)

bench-scale: $(VENV)/.ready ## a simulated cell of 10 000 live streams: how many servers and replicas, lost zones, deploys, cost; an hour of CPU time; QUICK=1
	@cd $(ROOT) && $(BIN)/python -m bench.scale $(if $(QUICK),--quick) $(ARGS)

bench-page: $(VENV)/.ready ## what a frame of the page's picture costs after an hour, in Chromium
	@cd $(ROOT) && $(BIN)/python bench/page_frames.py $(ARGS)

bench-turns: $(VENV)/.ready $(VENV)/.extra-moonshine ## from the last word to the final: silence, speculation, turn detectors; 12 minutes, with nothing else to do; QUICK=1
	@-$(MAKE) --no-print-directory -C $(ROOT) smart-turn
	@-test -d $(TURN_PROMPTS) || $(MAKE) --no-print-directory -C $(ROOT) turn-prompts
	@cd $(ROOT) && $(BIN)/python bench/turns.py $(if $(QUICK),--quick) --smart-turn $(SMART_TURN) --out build/turns.json $(ARGS); code=$$?; \
		test -f build/turns.json || exit $$code; $(BIN)/python bench/turn_report.py build/turns.json > /dev/null && exit $$code

bench-wer: $(VENV)/.ready $(VENV)/.extra-moonshine ## the word error rate of moonshine on human speech, through the server at live pace and offline
	@cd $(ROOT) && $(BIN)/python bench/word_error_rate.py $(ARGS)

$(VENV)/.bench: $(VENV)/.ready
	@cd $(ROOT) && $(BIN)/python $(ROOT)/tools/requirements.py bench > $(VENV)/requirements-bench.txt
	@$(BIN)/python -m pip install --quiet -r $(VENV)/requirements-bench.txt
	@touch $@

lint: $(VENV)/.ready ## ruff: mistakes, style, format
	@cd $(ROOT) && $(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.ready ## mypy on the package, and the stubs of the compiled modules against the binaries
	@cd $(ROOT) && $(BIN)/mypy && $(BIN)/python -m mypy.stubtest voxgate._native --allowlist tools/stubtest-allowlist.txt --ignore-unused-allowlist

wheel: $(VENV)/.ready ## build the wheel, install it into a clean environment, and try it there
	@cd $(ROOT) && $(BIN)/python tools/try_wheel.py $(ARGS)

release: $(VENV)/.ready ## the files of a release, in dist: sdist, a manylinux wheel for each CPython found, the client's; each tried in a clean environment
	@cd $(ROOT) && $(BIN)/python tools/release.py $(ARGS)

sanitize: $(VENV)/.ready ## the native tests under AddressSanitizer, UBSan and ThreadSanitizer
	@cd $(ROOT) && $(BIN)/python tools/sanitize.py $(ARGS)

# How long each target is fuzzed, and which: make fuzz SECONDS=600 TARGET='pcm ring'
SECONDS = 60
TARGET =

fuzz: $(VENV)/.ready $(VENV)/.extra-fuzz ## atheris on every parser and every native entry; SECONDS=60 each, TARGET=pcm
	@cd $(ROOT) && $(BIN)/python tools/fuzzing.py --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET)) -- $(ARGS)

clients: $(VENV)/.ready ## websocket clients of others, and what tests of ours in JavaScript need (React, esbuild, TypeScript): aiohttp, websocket-client, picows, Node's ws
	@mkdir -p $(ROOT)/build/clients && $(BIN)/python -m venv $(ROOT)/build/clients/venv
	@$(ROOT)/build/clients/venv/bin/pip install --quiet aiohttp websocket-client picows
	@if command -v npm > /dev/null; then npm install --prefix $(ROOT)/build/clients --silent ws react@19 react-dom@19 esbuild typescript@5; else echo "no npm: without tests of JavaScript"; fi

hostile: $(VENV)/.ready ## 10 000 bad connections against a real server: is everything back, and what does each kind cost?
	@cd $(ROOT) && $(BIN)/python bench/siege.py $(ARGS)

MINUTES = 25

soak: $(VENV)/.ready ## streams that come and go on all routes, faults on, for MINUTES=25: does each leave memory behind? 1: yes, 3: not settled
	@cd $(ROOT) && $(BIN)/python bench/soak.py --minutes $(MINUTES) $(ARGS)

docs: $(VENV)/.ready ## the documentation site, in build/docs; a link or a name that leads nowhere is an error
	@cd $(ROOT) && $(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet docs build/docs $(ARGS)
	@echo "build/docs/index.html"

reference: $(VENV)/.ready ## write the generated documents anew: settings, limits, metrics, command line, schemas
	@cd $(ROOT) && $(BIN)/python -m tools.reference $(ARGS)

DOCS_PORT = 8000

docs-serve: docs ## the site on http://127.0.0.1:8000; DOCS_PORT=9000
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory $(ROOT)/build/docs $(DOCS_PORT)

docs-figures: $(VENV)/.bench ## measure the numbers and draw the plots of the series anew; for a machine with nothing else to do
	@cd $(ROOT) && for figure in docs/figures/*.py; do echo "$$figure"; $(BIN)/python "$$figure" || exit 1; done

proto: $(VENV)/.ready ## compile the proto files anew, after a change to one
	@cd $(ROOT) && $(BIN)/python tools/proto.py

diagrams: $(VENV)/.ready ## draw the diagrams of the documents anew whose source has changed (needs Graphviz)
	@cd $(ROOT) && $(BIN)/python tools/house.py && $(BIN)/python tools/diagrams.py $(ARGS)

speech: $(VENV)/.ready ## make the bundled speech anew (needs espeak-ng)
	@cd $(ROOT) && $(BIN)/python tools/make_speech.py $(ARGS)

pictures: $(VENV)/.ready ## make the pictures of the README anew, from real runs
	@$(BIN)/python -m pip install --quiet rich
	@cd $(ROOT) && PATH=$(BIN):$$PATH $(BIN)/python tools/make_pictures.py && $(BIN)/python tools/make_recording.py && $(BIN)/python tools/make_page_picture.py

clean: ## remove everything that was built, and the virtual environment
	@cd $(ROOT) && rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks src/*.egg-info
	@find $(ROOT)/src -name '*.so' -delete
	@find $(ROOT) -name __pycache__ -type d -prune -exec rm -rf {} +
