# Filters against an evaluator of their own. FILTER_SECONDS, SEED as the script says.
.PHONY: filters
filters: deps
	@$(MAKE) --no-print-directory -j2 V=test build/test/kith
	@KITH=build/test/kith $(PYTHON) tests/filter_test.py
