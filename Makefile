# SPDX-License-Identifier: Apache-2.0
# Holdfast. `make help` lists the targets. Everything made goes to build/ (build-san/ for SAN=...).

SAN ?=
B := build$(if $(SAN),-san)
CC := gcc
# make V=1 shows the commands
Q := $(if $(V),,@)
PACKAGES := glib-2.0 gio-2.0 gio-unix-2.0 jansson libcurl libxml-2.0 libmicrohttpd libsystemd libcpg libquorum libvotequorum libcmap
HARDENING := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDENING) $(CFLAGS) $(PACKAGE_CFLAGS) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
PACKAGE_CFLAGS = $(eval PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PACKAGE_CFLAGS)
PACKAGE_LIBS = $(eval PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES)))$(PACKAGE_LIBS)

# Everything but the programs' own main files is one archive; each program takes from it what it uses.
MAINS := node-agent/main.c node-agent/setup/main.c webui-api/server/main.c cluster/ocf/main.c
LIB_SOURCES := $(filter-out $(MAINS),$(wildcard common/*.c cluster/*.c cluster/ocf/*.c storage/*.c vmm/*.c vmm/*/*.c fencing/*.c \
	node-agent/*.c node-agent/*/*.c webui-api/server/*.c))
LIB := $(B)/libholdfast.a
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))

PROGRAMS := holdfastd holdfast-api holdfast holdfast-setup holdfast-fence-peer holdfast-disk-probe \
	holdfast-ocf-guest fence_holdfast_manual
holdfastd_SOURCES := node-agent/main.c
holdfast-api_SOURCES := webui-api/server/main.c
holdfast_SOURCES := $(wildcard webui-api/cli/*.c)
holdfast-setup_SOURCES := node-agent/setup/main.c
holdfast-fence-peer_SOURCES := $(wildcard fencing/fence-peer/*.c)
holdfast-disk-probe_SOURCES := $(wildcard storage/probe/*.c)
holdfast-ocf-guest_SOURCES := cluster/ocf/main.c
fence_holdfast_manual_SOURCES := $(wildcard fencing/manual/*.c)
# A program whose sources are not there yet is left out.
PROGRAMS := $(foreach p,$(PROGRAMS),$(if $(wildcard $($(p)_SOURCES)),$(p)))
PROGRAM_FILES := $(PROGRAMS:%=$(B)/bin/%)

UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_PROGRAMS := $(UNIT_SOURCES:%.c=$(B)/%)
SIM_SOURCES := $(wildcard tests/sim/*.c)
SIM := $(B)/tests/sim/explore
ALL_SOURCES := $(LIB_SOURCES) $(foreach p,$(PROGRAMS),$($(p)_SOURCES)) $(UNIT_SOURCES) $(SIM_SOURCES)

all: programs ## build every program

programs: $(PROGRAM_FILES)

deps: ## install the Debian packages that building and testing need, when missing
	@packaging/install-deps

$(LIB): $(call objects,$(LIB_SOURCES))
	@rm -f $@ && ar rcs $@ $^

# Missing packages are installed before the first compilation; `make DEPS= ...` (package builds) never looks.
DEPS ?= deps
$(B)/obj/%.o: %.c Makefile | $(DEPS)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  CC   $@')
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

define program_rule
$(B)/bin/$(1): $$(call objects,$$($(1)_SOURCES)) $$(LIB)
	@mkdir -p $$(@D)
	$$(if $$(V),,@echo '  LINK $$@')
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(call objects,$$($(1)_SOURCES)) $$(LIB) $$(PACKAGE_LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

$(UNIT_PROGRAMS): $(B)/%: $(B)/obj/%.o $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(LIB) $(PACKAGE_LIBS)

# The DRBD handler with all its paths under the current folder: what its unit test runs. Never installed.
TEST_HANDLER := $(B)/tests/bin/holdfast-fence-peer
$(TEST_HANDLER): $(holdfast-fence-peer_SOURCES) $(wildcard fencing/fence-peer/*.h) $(LIB)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK $@')
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -DHANDLER_ROOT='""' -o $@ $(filter %.c,$^) $(LIB) $(PACKAGE_LIBS)

$(SIM): $(call objects,$(SIM_SOURCES) storage/record_codec.c)
	@mkdir -p $(@D)
	$(if $(V),,@echo '  LINK $@')
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PACKAGE_LIBS)

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_SOURCES))

# --- tests -----------------------------------------------------------------------------------------------------------------

check-unit: all $(UNIT_PROGRAMS) $(TEST_HANDLER) $(SIM) ## unit tests
	@HOLDFAST_BIN_DIR=$(B)/bin HOLDFAST_TEST_HANDLER=$(TEST_HANDLER) tests/run-unit $(B) $(UNIT_PROGRAMS) $(SIM)

check-sim: $(SIM) ## the in-sync protocol, every order of its steps (tests/sim)
	@$(SIM)

check-san: ## unit tests under the address and undefined behaviour sanitizers
	@$(MAKE) --no-print-directory check-unit SAN=address,undefined

check: ## everything: lint, unit tests plain and sanitized, then the lab scenarios (the README's test command)
	@tests/run-all

check-full: ## all lab scenarios, also the long ones; run again it does only what has not passed yet (FRESH=1: all anew)
	@FRESH=$(FRESH) tests/run-all --full

bench: all ## fail-over times of the demo guest in the lab, RUNS=5 power cuts; figures in build/bench/failover.json
	@tests/lab/bench $(RUNS)

# Static, for it is copied into nodes as it is.
$(B)/tests/faults/observer: tests/faults/observer.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) -static -O2 $(WARNINGS) -o $@ $<

CYCLES ?= 20
faults: all $(B)/tests/faults/observer ## CYCLES=20 random fault cycles on the lab's cluster, resumable
	@tests/lab/prepare
	@tests/faults/run --cycles $(CYCLES)

faults-proof: all $(B)/tests/faults/observer ## the campaign's judge catches programs that lack one of their rules
	@tests/lab/prepare
	@tests/faults/prove

demo: all ## three nodes, one guest, one power cut; then the cluster stays up (DEMO_KEEP=0 takes it down)
	@tests/lab/demo

lint: all ## layers, format and shell and Python syntax
	@tests/lint

format: ## rewrite the C sources with clang-format
	@clang-format -i $(wildcard $(addsuffix /*.[ch],common cluster cluster/ocf storage storage/probe vmm vmm/qemu fencing fencing/fence-peer \
		fencing/manual node-agent node-agent/setup webui-api/server webui-api/cli tests/unit tests/unit/* tests/faults tests/sim tests/lab/demo-guest))

debs: all ## Debian packages in build/deb
	@packaging/build-debs

image: debs ## the appliance's disk image in build/appliance
	@packaging/appliance/build

.PHONY: all programs deps check-unit check-sim check-san check check-full bench faults faults-proof demo lint format debs image help clean
.DEFAULT_GOAL := all

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

clean: ## remove everything made (the lab must be down)
	rm -rf build build-san
