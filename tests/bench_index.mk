# kith's index beside hnswlib (Debian's header, compiled natively) and faiss (its wheel).
BENCH_INDEX := build/bench/hnsw build/bench/kith-index
SETS ?=

build/bench/hnsw: tests/bench_index_hnsw.cpp
	@mkdir -p $(@D)
	@echo 'CXX $@'
	$(Q)g++ -O3 -march=native -std=c++17 -o $@ $<

build/bench/kith-index: tests/bench_index_kith.c $(LIBOBJ) $(LLHTTP_OBJ)
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< $(LIBOBJ) $(LLHTTP_OBJ) $(LIBS)

build/venv/faiss:
	@mkdir -p build
	python3 -m venv build/venv
	build/venv/bin/pip install -q numpy==1.26.4 faiss-cpu==1.9.0.post1
	@touch $@

.PHONY: bench-index
bench-index: deps
	@tests/install_packages.sh libhnswlib-dev g++ python3-venv
	@$(MAKE) --no-print-directory -j2 all $(BENCH_INDEX) build/venv/faiss
	@build/venv/bin/python tests/bench_index.py $(SETS)

# The cost of a query from 1,000 points to a million; MOST=300000: no more than so many.
MOST ?= 1000000
.PHONY: bench-growth
bench-growth: deps
	@tests/install_packages.sh python3-venv
	@$(MAKE) --no-print-directory -j2 all build/bench/kith-index build/venv/faiss
	@build/venv/bin/python tests/bench_growth.py --most $(MOST)
