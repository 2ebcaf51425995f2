# kith: build, test, measure. `make help` lists the targets.
#
# Variants live side by side in build/<variant>/: release (what people install), test (release plus
# failpoints and small-map settings), asan, tsan. Library code is everything but server/main.c;
# each tests/unit/*_test.c becomes one cmocka program linked with all of it.

VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= gcc
V ?= release
PYTHON ?= /usr/bin/python3
LLHTTP_SRC ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp

BUILD := build/$(V)$(if $(filter clang,$(CC)),-clang)
ARCH := $(shell uname -m)

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
LIBS := -luv -llmdb -ljansson -lroaring -lz -lm -lpthread

ifeq ($(V),release)
CFLAGS := $(BASE) $(WARN) -O2 $(HARDEN)
LDFLAGS := $(LDHARDEN)
else ifeq ($(V),test)
CFLAGS := $(BASE) $(WARN) -O2 $(HARDEN) -DKITH_TEST_HOOKS=1
LDFLAGS := $(LDHARDEN)
else ifeq ($(V),asan)
CFLAGS := $(BASE) $(WARN) -O1 -DKITH_TEST_HOOKS=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
LDFLAGS := -fsanitize=address,undefined
else ifeq ($(V),tsan)
CFLAGS := $(BASE) $(WARN) -O1 -DKITH_TEST_HOOKS=1 -fsanitize=thread
LDFLAGS := -fsanitize=thread
endif

# Only kernels_<isa>.c get machine flags; which of them runs is chosen at run time.
ifeq ($(ARCH),x86_64)
FLAGS_kernels_avx2 := -mavx2 -mfma -mf16c -mbmi2
FLAGS_kernels_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi -mavx2 -mfma -mf16c -mbmi2
endif

SRC := $(wildcard codec/*.c storage/*.c index/*.c server/*.c)
LIBSRC := $(filter-out server/main.c,$(SRC))
OBJ := $(SRC:%.c=$(BUILD)/%.o)
LIBOBJ := $(LIBSRC:%.c=$(BUILD)/%.o)
LLHTTP_OBJ := $(BUILD)/llhttp/llhttp.o $(BUILD)/llhttp/api.o $(BUILD)/llhttp/http.o
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*_test.c))

.PHONY: all help deps
all: $(BUILD)/kith
ifeq ($(BUILD),build/release)
	@ln -sfn release/kith build/kith
endif

$(BUILD)/kith: $(OBJ) $(LLHTTP_OBJ)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(FLAGS_$(basename $(notdir $<))) -c -o $@ $<

# llhttp's own generated C, from Debian's node-llhttp, in its strict build; its warnings are not ours.
$(BUILD)/llhttp/%.o: $(LLHTTP_SRC)/%.c
	@mkdir -p $(@D)
	$(CC) $(filter-out -W%,$(CFLAGS)) -Wp,-D_FORTIFY_SOURCE=2 -w -DLLHTTP_STRICT_MODE=1 -c -o $@ $<

$(BUILD)/tests/%: tests/unit/%.c $(LIBOBJ) $(LLHTTP_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $< $(LIBOBJ) $(LLHTTP_OBJ) -lcmocka $(LIBS)

-include $(OBJ:.o=.d) $(TESTS:=.d)
