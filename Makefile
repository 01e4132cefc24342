PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGE_LINKS := build/typing/pyredis_cluster

.PHONY: cluster stop test check bench profile soak measure clean

$(BIN)/.installed: pyproject.toml $(wildcard node/native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# mypy sees the four folders as one package only through this tree of links.
$(PACKAGE_LINKS): $(wildcard cluster/*)
	rm -rf $@
	mkdir -p $@
	for file in cluster/*.py cluster/py.typed; do ln -s ../../../$$file $@/; done
	for folder in node gossip client; do ln -s ../../../$$folder $@/$$folder; done

cluster: $(BIN)/.installed
	$(BIN)/pyredis-cluster create --nodes 6 --replicas 1

stop: $(BIN)/.installed
	$(BIN)/pyredis-cluster stop

check: $(BIN)/.installed $(PACKAGE_LINKS)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/style

test: $(BIN)/.installed
	$(BIN)/pytest

# SECTIONS="memory stalls" runs these only; ARGS=--quick gives the order of magnitude.
bench: $(BIN)/.installed
	$(BIN)/python -m pyredis_cluster.bench --output docs $(addprefix --section ,$(SECTIONS)) $(ARGS)

# ARGS="--tests get,set --cprofile" shows the functions of these two.
profile: $(BIN)/.installed
	$(BIN)/python -m pyredis_cluster.bench_profile $(ARGS)

# So many clusters under all faults in virtual time; each chunk adds a line to build/soak.txt.
SEEDS ?= 10000
MINUTES ?= 10
JOBS ?= 2
FIRST ?= 1

COMPILED := build/compiled

soak: $(BIN)/.installed $(COMPILED)/.built
	PYTHONPATH=$(COMPILED) $(BIN)/python -m pyredis_cluster.gossip.simulation.soak \
		--first $(FIRST) --seeds $(SEEDS) --minutes $(MINUTES) --jobs $(JOBS)

# All of docs/failure-detection.*, as `python -m` does it without the compiled sources; ARGS="--sizes 6 30".
measure: $(BIN)/.installed $(COMPILED)/.built
	PYTHONPATH=$(COMPILED) $(BIN)/python -m pyredis_cluster.gossip.simulation.measure docs $(ARGS)

# The same sources compiled by mypyc, which comes with mypy: the same traces in less than half the time.
$(COMPILED)/.built: $(wildcard gossip/*.py gossip/simulation/*.py)
	rm -rf $(COMPILED)
	mkdir -p $(COMPILED)/pyredis_cluster
	touch $(COMPILED)/pyredis_cluster/__init__.py
	cp -r gossip $(COMPILED)/pyredis_cluster/
	cd $(COMPILED) && MYPYC_OPT_LEVEL=2 MYPYC_DEBUG_LEVEL=0 ../../$(BIN)/mypyc --strict-bytes --ignore-missing-imports \
		$$(ls pyredis_cluster/gossip/*.py pyredis_cluster/gossip/simulation/*.py | grep -v -e soak.py -e simulate.py -e measure.py) > mypyc.log
	touch $@

clean:
	rm -rf build dist $(VENV) *.egg-info node/*.so
