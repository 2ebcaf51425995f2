.PHONY: bench-life
bench-life: deps
	@$(MAKE) --no-print-directory -j2 all
	@KITH=build/kith $(PYTHON) tests/bench_life.py $(LIFE)
