# Every target sets itself up: a fresh clone needs Python 3.11 or newer and nothing else.
PYTHON ?= python3
BIN := .venv/bin

# Threads that wait spin for some microseconds, then sleep: quick on quiet and on shared cores.
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 10000

.PHONY: setup test test-slow test-all test-fast docs dist-check test-engines test-browser test-soak \
  fuzz mutate kernels lint demo bench bench-million bench-onnx \
  bench-advise bench-search bench-ranking bench-frontier bench-engines bench-stream bench-cold \
  bench-latency bench-scale results clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Two processes share the tests, so BLAS and torch take one thread in each: two would wait for each
# other. What our own threads do is tested with as many as there are cores.
PYTEST := OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --max-worker-restart 0

test: setup
	$(MAKE) --no-print-directory -j2 lint kernels
	$(PYTEST) -m "not slow and not engine"

# Compiled once, before two processes would each compile them.
kernels: setup
	$(BIN)/sigah warmup

# The rest, marked `slow`: fits of all methods on real images, the soak, and others of many seconds.
# A file is not divided between the two processes, so fits that its tests share are made once.
test-slow: setup
	$(PYTEST) --dist loadfile -m "slow and not engine"

test-all: test test-slow

# The inner loop: the core without training and without processes (tests/conftest.py lists it).
test-fast: setup
	$(PYTEST) -m "fast and not engine"

# The source distribution and the wheel, each in an environment of its own without extras.
dist-check: setup
	$(BIN)/python .ci/check_dist.py

# What needs an engine or a cluster, none skipped; installs them.
test-engines: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,engines,servers,service,ray]'
	$(BIN)/python -m pytest tests/engines tests/distributed tests/service -m 'engine or not engine'

# Ten minutes of random work on one index by threads and killed processes, every answer checked.
test-soak: setup
	$(BIN)/python tests/soak/soak.py --seconds 600

# Coverage-guided fuzzing of every reader of files, two minutes each. What breaks a reader is kept in
# .fuzz/READER/crash-*, and the seeds in tests/fuzz/seeds are part of `make test`.
SECONDS_A_READER := 120
fuzz: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	for reader in $$(ls tests/fuzz/seeds); do \
	  $(BIN)/python tests/fuzz/fuzz.py $$reader $(SECONDS_A_READER) || exit 1; \
	done

# Small faults in the code, and whether the tests notice (hours); interrupted, it goes on where it
# stopped. Writes benchmarks/results/mutation.json.
mutate: setup
	$(BIN)/python tests/mutation/mutate.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation site, in build/site; a dead link or a name without its docstring fails.
docs: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/python docs/site/cli_page.py
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 mkdocs build --strict # ruff breaks signatures

# The report and the demo in a real browser; `make test` does this too where Chromium is installed.
test-browser: setup
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } || \
	  { echo "Chromium is not installed: install it as root, with apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest tests/lab/report/test_browser.py tests/lab/report/test_demo_text.py

# What short codes of text lose, and methods compared on MNIST and Fashion-MNIST; writes
# demo/text.html and demo/index.html.
demo: setup
	$(BIN)/sigah demo --out demo

# Time and memory of fitting and encoding; writes benchmarks/results/.
bench: setup
	$(BIN)/python benchmarks/fit_and_encode.py

# The same on a million SIFT descriptors, which are built first, once; and its page.
bench-million: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,photos]'
	$(BIN)/sigah data fetch photo-sift
	$(BIN)/python benchmarks/fit_and_encode.py --vectors photo-sift \
	  --methods sigah,itq,stochastic_generative,spherical \
	  --json benchmarks/results/fit_million.json
	$(BIN)/python benchmarks/publish.py

# Hamming search beside its peers (half an hour on two cores), re-ranking, and their pages.
bench-search: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/rerank.py
	$(BIN)/python benchmarks/publish.py

# Recall, bytes and time of searches for vectors, ours beside FAISS's; hours.
bench-frontier: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python benchmarks/frontier.py

# Asymmetric scans, shortlists ranked by tables, second stages and single vectors; docs/performance.md.
bench-ranking: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/ranking.py

# How well `sigah advise` predicts full sets from parts of them.
bench-advise: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/advise.py

# Recall and time of the engines on real codes, and our codes beside their own ways, for
# docs/engines.md.
bench-engines: setup
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,engines,servers]'
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/engines.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rescoring.py
	$(BIN)/python benchmarks/publish.py

# Encoding a file of 10 GB, its memory and speed, and whether drift is found, and their page.
bench-stream: setup
	$(BIN)/python benchmarks/encode_stream.py
	$(BIN)/python benchmarks/drift.py
	$(BIN)/python benchmarks/publish.py

# What a new process costs, and an installation (docs/performance.md).
bench-cold: setup
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/publish.py

# How long one query takes, warm, cold and in a container (docs/service.md): on a quiet machine.
bench-latency: setup
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/publish.py

# A million and a hundred million vectors, step by step, for docs/scale.md: an hour of one core and
# 4 GB of disk in FOLDER. Interrupted, it goes on where it stopped.
FOLDER := build/scale
bench-scale: setup
	$(BIN)/python benchmarks/scale.py --folder $(FOLDER) --vectors 1000000
	$(BIN)/python benchmarks/scale.py --folder $(FOLDER)
	$(BIN)/python benchmarks/publish.py

# Exported ONNX encoders beside the methods themselves (three minutes), and their page.
bench-onnx: setup
	$(BIN)/python benchmarks/onnx_models.py
	$(BIN)/python benchmarks/publish.py

# Every figure of docs/results.md, five seeds each (hours on two cores); writes results/ and
# fills in the page.
# Interrupted, it goes on where it stopped.
SETS := mnist fashion-mnist
FIXED := sigah:dictionary=gaussian:dictionary_ratio=2
ABLATIONS := $(FIXED),$(FIXED):pair=0,$(FIXED):neighbor=0,$(FIXED):adversarial=0,$(FIXED):sparsity=0,$(FIXED):graph=0.001,sigah:reconstruction=0:sparsity=0:adversarial=0,sigah:pair=0:neighbor=0
SAMPLED := binary_autoencoder,stochastic_generative,stochastic_generative:stochastic=false,itq,spherical,ordinal_constrained
results: setup
	for set in $(SETS); do \
	  $(BIN)/sigah evaluate $$set --methods all --bits 32,64 --seeds 5 --resume \
	    --json results/$$set.json && \
	  $(BIN)/sigah evaluate $$set --methods lsh,qolsh,sign --bits 784 --seeds 5 --resume \
	    --json results/$$set-784.json && \
	  $(BIN)/sigah evaluate $$set --methods $(ABLATIONS) --bits 64 --seeds 5 --resume \
	    --json results/$$set-ablation.json || exit 1; \
	done
	$(BIN)/sigah evaluate mnist --methods $(SAMPLED) --bits 32,64 --seeds 5 --train 10000 --resume \
	  --json results/mnist-10000.json
	$(BIN)/python benchmarks/decoders.py
	$(BIN)/python benchmarks/neighborhoods.py --sets mnist,photo-gist-384,wordnet-text --seeds 1
	$(BIN)/python benchmarks/long_codes.py --sets mnist,fashion-mnist,photo-gist-384,wordnet-text --seeds 1
	$(BIN)/python benchmarks/publish.py

clean:
	rm -rf .venv demo
