# Two commands: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes -r
PEERS := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock"
COMPILE := $(PEERS) pyproject.toml

.PHONY: help run test demo docs serve lab hooks telco check bench-decision bench-short bench-runner bench-api fuzz-api lock sample clean screenshots bench-pages campaign-input campaign-properties bench-fit bench-scale cluster-demo cluster-kills bench-store campaign planted mutation

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

run: .venv/run ## new clients arrive, one tick of the portfolio demo: decision, reason, report
	@$(BIN)/python runner.py simulate
	@$(BIN)/python runner.py

test: .venv/dev ## all tests, offline
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

demo: .venv/run ## 208 weeks of a simulated history, in a home of its own: .demo/
	@$(BIN)/python runner.py simulate --history .demo

serve: .venv/run ## the API on 127.0.0.1:8000
	@$(BIN)/python api.py

lab: .venv/lab ## JupyterLab on the notebooks
	@$(BIN)/jupyter lab notebooks

hooks: .venv/hooks ## git keeps outputs out of commits, and shows notebooks cell by cell
	@git config filter.nbstripout.clean "'$(CURDIR)/$(BIN)/nbstripout' --keep-id"
	@git config filter.nbstripout.smudge cat
	@git config filter.nbstripout.required true
	@git config diff.jupyternotebook.command "'$(CURDIR)/$(BIN)/git-nbdiffdriver' diff"
	@git config merge.jupyternotebook.driver "'$(CURDIR)/$(BIN)/git-nbmergedriver' merge %O %A %B %L %P"
	@git config merge.jupyternotebook.name "notebooks, cell by cell"
	@echo "git strips, compares and merges the notebooks of this checkout from now on"
screenshots: .venv/dev ## the pictures of the README, of the demo (wants chromium)
	@test -f .demo/executed/demo/index.html || $(BIN)/python runner.py simulate --history .demo
	@$(BIN)/python -m benchmarks.screenshots .demo docs/pictures

bench-pages: .venv/run ## what publishing a run costs after 10, 1,000 and 10,000 runs: docs/benchmarks.md
	@$(BIN)/python -m benchmarks.site

docs: .venv/docs ## the documentation as a site, in site/, every link between its pages checked
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs site

telco: .venv/telco ## 7,043 real clients, in 14 drops, a tick each
	@$(BIN)/python runner.py telco --ticks 14

check: .venv/dev ## ruff, mypy, imports, the form of the notebooks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest tests/test_notebooks.py -k "not by_itself"

bench-decision: .venv/telco ## delays, false alarms, promotions, losses, stress streams and peers: docs/benchmarks.md (an hour)
	@$(BIN)/python -m benchmarks.decision --seeds 20 --first 2000
	@$(BIN)/python -m benchmarks.loss --seeds 5 --first 3000

bench-short: .venv/run ## the claims of bench-decision in a minute; fails where one no longer holds
	@$(BIN)/python -m benchmarks.decision --short

bench-runner: .venv/run ## a tick beside papermill's command, plain scripts and one process: docs/benchmarks.md
	@$(BIN)/python -m benchmarks.runner --rounds 5

bench-store: .venv/bench ## ingest beside pandas and hand-written SQL: docs/benchmarks.md (ten minutes)
	@$(BIN)/python -m benchmarks.store

bench-api: .venv/run ## the API beside other servers, swaps under load (wants wrk): docs/benchmarks.md
	@$(BIN)/python -m benchmarks.serving

campaign: .venv/dev ## what is promised after crashes, power cuts, full disks: docs/faults.md (hours; ROW=4 COUNT=100 or MINUTES=10: a part; JOBS=2)
	@$(BIN)/python -m campaign $(if $(ROW),--row $(ROW)) $(if $(COUNT),--count $(COUNT)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(PART),--part $(PART)) --jobs $(or $(JOBS),1) --write docs/faults.md --write README.md

planted: .venv/dev ## defects planted one at a time, each of which the campaign or a test must see (half an hour)
	@$(BIN)/python -m campaign.planted

mutation: .venv/dev ## changes of one operator, constant or statement, each of which a test must notice (half an hour; ROOM=book: a part)
	@$(BIN)/python -m campaign.mutants $(ROOM)

bench-fit: .venv/run ## fit and statistics of 20M rows beside scikit-learn and pandas: docs/benchmarks.md
	@$(BIN)/python -m benchmarks.fit

bench-scale: .venv/run ## a tick of 2M clients: seconds and memory of each stage: docs/benchmarks.md
	@$(BIN)/python -m benchmarks.scale

cluster-demo: .venv/cluster ## 20M rows on a cluster of this machine, a worker killed half-way
	@$(BIN)/python -m benchmarks.cluster

cluster-kills: .venv/cluster ## the same in small, 20 times
	@$(BIN)/python -m benchmarks.cluster --rows 500_000 --kills 20

fuzz-api: .venv/run ## 20,000 requests made up by schemathesis from the description of the API: no 5xx
	@$(BIN)/python -m benchmarks.fuzz_api

lock: .venv/dev ## compile the locks from pyproject.toml
	@$(COMPILE) -o requirements.txt
	@for extra in dev lab telco hooks cluster files postgres bench docs; do $(COMPILE) --extra $$extra -c requirements.txt -o locks/$$extra.txt; done
	@for peer in river evidently nannyml schemathesis; do \
		$(PEERS) locks/peers-$$peer.in -o locks/peers-$$peer.txt; done

campaign-input: .venv/dev ## 10,000 spoilt files through the client store, every row of them accounted for
	@ATTRITION_CAMPAIGN=10000 $(BIN)/python -m pytest tests/test_bad_input.py

campaign-properties: .venv/dev ## properties of the tests with ten times as many examples, 100 runs killed at random (hours)
	@ATTRITION_EXAMPLES=10 ATTRITION_KILLS=100 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

sample: .venv/run ## make the committed sample home (tests/data/home) anew
	@$(BIN)/python tests/make_sample.py

clean: ## remove what was installed; data/, models/ and executed/ stay
	rm -rf .venv .bench

.venv/run: requirements.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked libraries, once"
	@$(LOCKED) requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev .venv/lab .venv/telco .venv/hooks .venv/cluster .venv/files .venv/postgres .venv/bench .venv/docs: .venv/%: locks/%.txt .venv/run
	@$(LOCKED) $<
	@touch $@
