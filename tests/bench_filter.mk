.PHONY: bench-filter
bench-filter: deps
	@$(MAKE) --no-print-directory -j2 all
	@KITH=build/kith $(PYTHON) tests/bench_filter.py $(FILTER)
