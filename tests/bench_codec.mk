# The codec in figures: accuracy beside its family, speed beside the machine, faiss and turbovec.
CODEC_BENCH := build/bench/bench_codec build/bench/bench_codec_tables build/bench/bench_codec_sets
CODEC_SHARED := build/release/tests/family.o build/release/tests/staged.o build/release/tests/coder.o \
	build/release/tests/bench_codec_svg.o

$(CODEC_BENCH): build/bench/%: tests/%.c $(CODEC_SHARED) build/release/codec/libcodec.a
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< $(CODEC_SHARED) build/release/codec/libcodec.a -lz -lm
# Estimates of the schemes that are not kith's, in plain C and wide registers.
build/bench/bench_codec_tables: private CFLAGS += -O3 -march=native -ffp-contract=fast
-include $(CODEC_SHARED:.o=.d)

# The peers, in a venv of their own.
build/bench-venv/installed:
	@mkdir -p build
	/usr/bin/python3 -m venv build/bench-venv
	build/bench-venv/bin/pip install -q numpy==2.4.6 faiss-cpu==1.15.1 turbovec==1.1.2
	@touch $@

CODEC_SETS ?= $(addprefix ../shared/data/,glove100-120k sift128-120k sent512-50k mnist784-60k)
ROUNDS ?= 3
QUERIES ?= 1000
ROTATIONS ?= 5

# Speed, then accuracy without data and the picture, then the sets: some minutes each.
.PHONY: codec-epsilon bench-codec bench-codec-speed bench-codec-accuracy bench-codec-sets
bench-codec: bench-codec-speed bench-codec-accuracy bench-codec-sets
bench-codec-speed: deps build/bench-venv/installed
	@$(MAKE) --no-print-directory -j2 build/bench/bench_codec
	@ROUNDS=$(ROUNDS) build/bench-venv/bin/python tests/bench_codec.py
bench-codec-accuracy: deps
	@$(MAKE) --no-print-directory -j2 build/bench/bench_codec_tables
	@build/bench/bench_codec_tables -s codec/errors.svg
	@build/bench/bench_codec_tables -d 1536
# Fails when the staged search of a set finds less than .999 or takes more than 30 exact keys.
codec-epsilon: deps
	@$(MAKE) --no-print-directory -j2 build/bench/bench_codec_tables
	@build/bench/bench_codec_tables -e -q $(QUERIES) $(CODEC_SETS)
bench-codec-sets: deps
	@$(MAKE) --no-print-directory -j2 build/bench/bench_codec_tables
	@build/bench/bench_codec_tables -q $(QUERIES) -r $(ROTATIONS) $(CODEC_SETS)
