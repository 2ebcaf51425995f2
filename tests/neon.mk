# The codec's tests on 64-bit ARM: compiled across, run by qemu. cmocka is a header of ours there.
NEON := build/aarch64
NEON_CC ?= aarch64-linux-gnu-gcc
NEON_FLAGS := -std=c17 -D_GNU_SOURCE -I. -ffp-contract=off -g -O2 -MMD -MP $(WARN)
NEON_OBJ := $(patsubst codec/%.c,$(NEON)/%.o,$(wildcard codec/*.c))
NEON_TESTS := $(patsubst %,$(NEON)/%_test,kernels codec_encode codec_search codec_rotate codec_metric codec_stats)

$(NEON)/kernels_neon.o $(NEON)/kernels_neon_scan.o: NEON_FLAGS += -O3
$(NEON)/%.o: codec/%.c
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(NEON_CC) $(NEON_FLAGS) -c -o $@ $<

$(NEON)/codec_stats_test: tests/family.c tests/staged.c
$(NEON)/%_test: tests/unit/%_test.c $(NEON_OBJ)
	@echo 'CC $@'
	$(Q)$(NEON_CC) $(NEON_FLAGS) -MF $@.d -Itests/aarch64 -static -o $@ $(filter %.c %.o,$^) -lm

.SECONDARY: $(NEON_OBJ)
.PHONY: neon run-neon
neon:
	@tests/install_packages.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
	@$(MAKE) --no-print-directory -j2 run-neon

run-neon: $(NEON_TESTS)
	@for test in $(NEON_TESTS); do timeout 1200 qemu-aarch64 $$test || exit 1; done

-include $(NEON_OBJ:.o=.d) $(NEON_TESTS:=.d)
