.PHONY: recall-levels
recall-levels: deps
	@tests/install_packages.sh libopenblas0-pthread
	@$(MAKE) --no-print-directory -j2 all
	@KITH=build/kith $(PYTHON) tests/recall_levels_test.py $(SETS)
