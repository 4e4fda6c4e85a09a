# Everything starts here: `make quickstart` and `make test`. Needs Python >= 3.11 and make.
PYTHON ?= python3
PYTEST_ARGS ?=
GPU_PYTHON ?=

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PARTIAL := $(VENV)/.installing
SOURCES := hrvision_env agents benchmarks tests

# One thread per process: two spinning OpenMP pools beside each other are several times slower.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help quickstart evidence test test-slow test-browser test-peers test-vllm test-deepspeed bench-training gpu-check lint format clean
.DEFAULT_GOAL := help

help:
	@echo 'make quickstart   install, train GRPO and MGPO, evaluate both, write a report (about 10 minutes)'
	@echo 'make evidence     quickstart over three seeds, with ablations and statistics (about 15 minutes)'
	@echo 'make test         install, run the tests on the CPU, offline'
	@echo 'make test-slow    the tests that take longer: a million fuzzed replies and the like'
	@echo 'make test-browser what people see and click, in headless Chromium'
	@echo 'make test-peers   our ports of other projects, against those projects (installs them)'
	@echo 'make test-vllm    the vLLM engine with the real vLLM, on the CPU (installs it)'
	@echo 'make test-deepspeed training in two processes with DeepSpeed, on the CPU'
	@echo 'make bench-training  a training step beside one of TRL (installs it), and how ours grows'
	@echo 'make gpu-check    what only a GPU shows (GPU_PYTHON: the Python of an environment with vLLM)'
	@echo 'make lint         ruff, its formatter as a check, mypy'
	@echo 'make format       put the code into shape'
	@echo 'make clean        remove $(VENV), caches and build outputs (runs/ stays)'

quickstart: $(STAMP)
	@$(RUN) -m benchmarks.quickstart

evidence: $(STAMP)
	@$(RUN) -m benchmarks.evidence

test: $(STAMP)
	@HF_HUB_OFFLINE=1 WANDB_MODE=offline $(RUN) -m pytest -n auto --maxprocesses 8 $(PYTEST_ARGS)

test-slow: $(STAMP)
	@HF_HUB_OFFLINE=1 WANDB_MODE=offline $(RUN) -m pytest -m slow $(PYTEST_ARGS)

test-browser: $(STAMP)
	@command -v chromium >/dev/null || { echo 'Chromium is missing: apt-get install chromium' >&2; exit 1; }
	@$(RUN) -m pytest -m browser $(PYTEST_ARGS)

test-peers: $(STAMP)
	@$(RUN) -m pytest -m peers tests/peers $(PYTEST_ARGS)

# Child processes start with the same path: the folder makes torchvision importable for them, too.
test-vllm: $(STAMP)
	@vllm=$$($(RUN) -m tests.vllm.environment) && PYTHONPATH=tests/vllm/site:. HF_HUB_OFFLINE=1 \
		$$vllm -m pytest -m vllm tests/vllm $(PYTEST_ARGS)

test-deepspeed: $(STAMP)
	@HF_HUB_OFFLINE=1 WANDB_MODE=offline $(RUN) -m pytest -m deepspeed $(PYTEST_ARGS)

# Both sides have two threads and take turns; run it on an idle machine.
bench-training: $(STAMP)
	@trl=$$($(RUN) -m tests.peers.trl_environment) && $(RUN) -m benchmarks.speed.training \
		--trl-python $$trl --scaling --out benchmarks/results/training_vs_trl.json

gpu-check: $(if $(GPU_PYTHON),,$(STAMP))
	@HF_HUB_OFFLINE=1 $(or $(GPU_PYTHON),$(RUN)) -m pytest -m gpu $(PYTEST_ARGS)

lint: $(STAMP)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy $(SOURCES)

format: $(STAMP)
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

# An installation that was interrupted leaves $(PARTIAL) behind and is started over.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and \
		f"$(PYTHON) is Python {v}, expected 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@echo 'Installing into $(VENV): 2 to 6 minutes the first time, depending on the network (PyTorch is the large part).'
	@if [ -e $(PARTIAL) ] || ! $(RUN) -m pip --version >/dev/null 2>&1; then \
		echo 'Creating $(VENV)'; $(PYTHON) -m venv --clear $(VENV); fi
	@touch $(PARTIAL)
	@$(RUN) -m pip install --disable-pip-version-check -c constraints.txt setuptools
	@$(RUN) -m pip install --disable-pip-version-check --no-build-isolation -c constraints.txt \
		-e '.[train,report,wandb,tensorboard,vips,human,data,hub,judge,dev]'
	@DS_BUILD_OPS=0 $(RUN) -m pip install --disable-pip-version-check --no-build-isolation \
		-c constraints.txt -e '.[deepspeed]'
	@rm -f $(PARTIAL)
	@touch $(STAMP)
	@echo 'Installed.'

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
