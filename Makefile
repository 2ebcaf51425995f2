# kith: build, test, measure. `make help` lists the targets.
#
# Variants live side by side in build/<variant>/: release (what people install), test (release plus
# failpoints and small-map settings), asan, tsan. Library code is everything but server/main.c;
# each tests/unit/*_test.c becomes one cmocka program linked with all of it.

VERSION := 0.1.0
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif
V ?= release
PYTHON ?= /usr/bin/python3
LLHTTP_SRC ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp

BUILD := build/$(V)$(if $(filter clang,$(CC)),-clang)
ARCH := $(shell uname -m)
FUZZ_SECONDS ?= 20
# VERBOSE=1 prints the commands.
Q := $(if $(VERBOSE),,@)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wconversion -Wsign-conversion -Wdouble-promotion -Wformat=2 -Wundef \
	-Wvla -Wcast-qual -Wcast-align -Wpointer-arith -Wwrite-strings -Wswitch-enum \
	-Wimplicit-fallthrough -Werror
BASE := -std=c17 -D_GNU_SOURCE -I. -isystem $(LLHTTP_INC) -ffp-contract=off -g -fno-omit-frame-pointer \
	-DKITH_VERSION=\"$(VERSION)\" -MMD -MP
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2
ifeq ($(ARCH),x86_64)
HARDEN += -fcf-protection
endif
LDHARDEN := -pie -Wl,-z,relro,-z,now
LIBS := -luv -llmdb -lroaring -licuuc -lstemmer -ljansson -lz -lzstd -lm -lpthread

ifeq ($(V),release)
CFLAGS := $(BASE) $(WARN) -O2 $(HARDEN)
LDFLAGS := $(LDHARDEN)
else ifeq ($(V),test)
CFLAGS := $(BASE) $(WARN) -O2 $(HARDEN) -DKITH_TEST_HOOKS=1
LDFLAGS := $(LDHARDEN)
else ifeq ($(V),asan)
CFLAGS := $(BASE) $(WARN) -O1 -DKITH_TEST_HOOKS=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS := -fsanitize=address,undefined
else ifeq ($(V),fuzz)
CFLAGS := $(BASE) $(WARN) -O1 -DKITH_TEST_HOOKS=1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
LDFLAGS := -fsanitize=fuzzer,address,undefined
else ifeq ($(V),cov)
CFLAGS := $(BASE) $(WARN) -O0 -DKITH_TEST_HOOKS=1 --coverage -fprofile-update=atomic
LDFLAGS := --coverage
else ifeq ($(V),tsan)
CFLAGS := $(BASE) $(WARN) -O1 -DKITH_TEST_HOOKS=1 -fsanitize=thread
LDFLAGS := -fsanitize=thread
endif

# Only kernels_<isa>.c get machine flags; which of them runs is chosen at run time. -O3 unrolls their
# short loops over registers.
ifeq ($(ARCH),x86_64)
FLAGS_kernels_avx2 := -O3 -mavx2 -mfma -mf16c -mbmi2
FLAGS_kernels_avx2_scan := $(FLAGS_kernels_avx2)
FLAGS_kernels_avx512 := -O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi -mavx2 -mfma -mf16c -mbmi2
FLAGS_kernels_avx512_scan := $(FLAGS_kernels_avx512)
else ifeq ($(ARCH),aarch64)
FLAGS_kernels_neon := -O3
FLAGS_kernels_neon_scan := -O3
endif

# The commit in GET /, when this is a clone: version.c alone is compiled again as it moves.
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
ifneq ($(COMMIT),)
FLAGS_version := -DKITH_COMMIT=\"$(COMMIT)\"
COMMIT_FILE := $(BUILD)/commit
$(shell mkdir -p $(BUILD) && echo $(COMMIT) | cmp -s - $(COMMIT_FILE) || echo $(COMMIT) >$(COMMIT_FILE))
endif

SRC := $(wildcard codec/*.c storage/*.c index/*.c server/*.c)
LIBSRC := $(filter-out server/main.c,$(SRC))
OBJ := $(SRC:%.c=$(BUILD)/%.o)
LIBOBJ := $(LIBSRC:%.c=$(BUILD)/%.o)
LLHTTP_OBJ := $(BUILD)/llhttp/llhttp.o $(BUILD)/llhttp/api.o $(BUILD)/llhttp/http.o
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c))

.PHONY: all help deps test unit check format asan tsan fuzz bench bench-codec clients crash model recall \
	codec-stats differential docker-test install demo clean layers
all: $(BUILD)/kith
ifeq ($(BUILD),build/release)
	@ln -sfn release/kith build/kith
endif

$(BUILD)/kith: $(OBJ) $(LLHTTP_OBJ)
	@echo 'LINK $@'
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(FLAGS_$(basename $(notdir $<))) -c -o $@ $<

$(BUILD)/server/version.o: $(COMMIT_FILE)

# The API's document lies in the program as gzip packs it.
FLAGS_openapi = -DOPENAPI_FILE='"$(BUILD)/server/openapi.json.gz"'
$(BUILD)/server/openapi.json.gz: server/openapi.json
	@mkdir -p $(@D)
	$(Q)gzip -9nc $< >$@
$(BUILD)/server/openapi.o: $(BUILD)/server/openapi.json.gz
.PHONY: openapi
openapi:
	@$(PYTHON) server/openapi.py

# llhttp's own generated C, from Debian's node-llhttp, in its strict build; its warnings are not ours.
$(BUILD)/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(filter-out -W%,$(CFLAGS)) -Wp,-D_FORTIFY_SOURCE=2 -w -DLLHTTP_STRICT_MODE=1 -c -o $@ $<

$(BUILD)/tests/%: tests/unit/%.c $(LIBOBJ) $(LLHTTP_OBJ)
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< $(filter %.o,$^) -lcmocka $(LIBS)

# What some tests and benchmarks share.
HELPERS := $(BUILD)/tests/family.o $(BUILD)/tests/staged.o
$(BUILD)/tests/family_test $(BUILD)/tests/codec_stats_test: $(HELPERS)

$(BUILD)/fuzz/%: tests/fuzz/%.c $(LIBOBJ) $(LLHTTP_OBJ)
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< $(LIBOBJ) $(LLHTTP_OBJ) $(LIBS)

-include $(OBJ:.o=.d) $(wildcard $(BUILD)/tests/*.d build/bench/*.d)
-include $(wildcard tests/*.mk)

help:
	@echo 'make demo        install what is missing, build, run kith on real data'
	@echo 'make test        install what is missing, build, run the tests (V=asan, V=tsan: those)'
	@echo 'make             build/kith           make install PREFIX=/usr/local'
	@echo 'make check       format, layers, static checks    make format   rewrite the format'
	@echo 'make openapi     rewrite server/openapi.json from server/openapi.py'
	@echo 'make clients     the published clients against a fresh server (installs them under build/)'
	@echo 'make asan tsan fuzz neon crash model differential codec-stats codec-epsilon recall error-texts docker-test: what CI runs besides'
	@echo 'make bench       benchmarks           make clean'

# ---- what Debian has to bring; a no-op when all is there ----

DEPS := gcc libc6-dev libuv1-dev liblmdb-dev libroaring-dev libicu-dev libstemmer-dev libjansson-dev node-llhttp zlib1g-dev libzstd-dev \
	libcmocka-dev \
	curl procps python3 python3-numpy python3-venv python3-jsonschema
DEV_DEPS := clang clang-format libclang-rt-14-dev cppcheck
DOCKER_DEPS := buildah debootstrap docker-compose
ifeq ($(DEV),1)
DEPS += $(DEV_DEPS)
endif
ifeq ($(DEV),docker)
DEPS := $(DOCKER_DEPS)
endif

deps:
	@tests/install_packages.sh $(DEPS)

# ---- tests ----

unit: $(TESTS)
	@tests/run_unit.sh $(TESTS)

test: deps
	@$(MAKE) --no-print-directory -j2 V=$(if $(filter release,$(V)),test,$(V)) run-tests

.PHONY: run-tests
run-tests: $(TESTS) $(BUILD)/kith
	@KITH=$(BUILD)/kith PYTHON=$(PYTHON) tests/run_tests.sh $(TESTS)

asan:
	@$(MAKE) --no-print-directory -j2 V=asan CC="$(CC)" unit
tsan:
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp $(TSAN_OPTIONS)" $(MAKE) --no-print-directory -j2 V=tsan CC="$(CC)" unit

FUZZERS := $(patsubst tests/fuzz/%.c,build/fuzz-clang/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
fuzz:
	@$(MAKE) --no-print-directory -j2 V=fuzz CC=clang $(FUZZERS)
	@tests/run_fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

crash: deps
	@$(MAKE) --no-print-directory -j2 V=test build/test/kith
	@KITH=build/test/kith $(PYTHON) tests/crash_test.py

model: deps
	@$(MAKE) --no-print-directory -j2 V=test build/test/kith
	@KITH=build/test/kith $(PYTHON) tests/model_test.py

# Against the Python client's local mode, an exact engine. DIFFERENTIAL_SECONDS, SEED, COUNT as the script says.
differential: deps all
	@KITH=build/kith tests/clients_venv.sh tests/local_test.py

# Which error texts no test reaches: a build that counts lines (gcov), the tests that answer over HTTP, a list.
COV_TESTS := $(patsubst tests/unit/%.c,build/cov/tests/%,$(filter-out $(wildcard $(addprefix tests/unit/,codec_*_test.c \
	family_test.c kernels_test.c storage_*_test.c *_property_test.c number_test.c partition_test.c)),$(wildcard tests/unit/*_test.c)))
.PHONY: error-texts
error-texts: deps
	@$(MAKE) --no-print-directory -j2 V=cov CC=gcc build/cov/kith $(COV_TESTS)
	@PYTHON=$(PYTHON) $(PYTHON) tests/error_texts.py run build/cov $(COV_TESTS)

# The codec's statistics at full size; `make test` has their core.
codec-stats: deps
	@$(MAKE) --no-print-directory -j2 V=test build/test/tests/codec_stats_test
	@build/test/tests/codec_stats_test all

recall: deps all
	@KITH=build/kith $(PYTHON) tests/recall_test.py

BENCH_TOOLS := build/bench/bench_limits build/bench/bench_load build/bench/bench_scan
bench: deps
	@$(MAKE) --no-print-directory -j2 all $(BENCH_TOOLS)
	@KITH=build/kith $(PYTHON) tests/bench_server.py $(BENCH)

# The peers natively, at -O3; the codec as it is in the release.
build/bench/bench_%: tests/bench_%.c
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -O3 -march=native -o $@ $< -llmdb -lpthread
build/bench/bench_scan: tests/bench_scan.c build/release/codec/libcodec.a
	@mkdir -p $(@D)
	@echo 'CC $@'
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< build/release/codec/libcodec.a -lm
build/release/codec/libcodec.a: $(patsubst %.c,build/release/%.o,$(wildcard codec/*.c))
	@ar rcs $@ $^

demo: deps
	@$(MAKE) --no-print-directory -j2 all
	@KITH=build/kith PYTHON=$(PYTHON) tests/demo.sh

# The published clients, pinned, installed once under build/clients; needs the network then.
CLIENT_DEPS := python3-venv $(if $(shell command -v npm),,nodejs npm)
clients: deps all
	@tests/install_packages.sh $(CLIENT_DEPS)
	@KITH=build/kith $(PYTHON) tests/e2e/recipes_test.py
	@KITH=build/kith $(PYTHON) tests/e2e/extras_test.py
	@KITH=build/kith $(PYTHON) tests/clients/run.py

docker-test: deps
	@$(MAKE) --no-print-directory DEV=docker deps
	@tests/docker_test.sh

# ---- the house ----

C_FILES := $(wildcard codec/*.[ch] storage/*.[ch] index/*.[ch] server/*.[ch] tests/*.[ch] \
	tests/unit/*.[ch] tests/fuzz/*.[ch] tests/aarch64/*.h)

layers:
	@tests/layers.sh

check: layers
	@$(PYTHON) server/openapi.py --check
	@clang-format --dry-run -Werror $(C_FILES)
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
		--suppress=missingIncludeSystem --suppress=internalAstError -I. -i tests codec storage index server

format:
	@clang-format -i $(C_FILES)

install: all
	install -D -m 755 build/kith $(DESTDIR)$(PREFIX)/bin/kith

clean:
	rm -rf build
