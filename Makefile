# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. Meson does the work; every target sets up what it needs.
#
#   make run      build, make a small Linux guest, boot it on the serial console
#   make test     build and run everything that CI runs (tools/run-tests --help)
#   make check    the fast tests only (under a minute, no privileges, no guest)
#   make bench    measurements beside QEMU TCG where it is installed
#   make install  DESTDIR= and prefix= as usual
#   make clean    removes build directories (the downloaded guest stays in .cache)

BUILD  ?= build
prefix ?= /usr/local
RING3   = $(BUILD)/src/cli/ring3
GUEST   = .cache/guest

export BUILD

.PHONY: all run test check bench install clean distclean setup

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,--quiet)

setup:
	@tools/setup build

$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) --prefix=$(prefix) >$(BUILD).setup.log 2>&1 || \
	    { cat $(BUILD).setup.log; exit 1; }; mv $(BUILD).setup.log $(BUILD)/setup.log

$(GUEST)/initrd.cpio.gz: tools/fetch-guest guest/linux/init
	@tools/setup build guest
	@tools/fetch-guest

run: all $(GUEST)/initrd.cpio.gz
	@if [ -t 0 ]; then mode= ; else mode=demo; fi; \
	exec $(RING3) run --kernel $(GUEST)/vmlinuz --initrd $(GUEST)/initrd.cpio.gz \
	    --append "console=ttyS0 quiet pci=off $$mode" --memory 512M $(RUN_ARGS)

test: all $(GUEST)/initrd.cpio.gz
	@tools/setup build guest test
	@tools/run-tests

check: all
	@tools/run-tests --fast

bench: all $(GUEST)/initrd.cpio.gz
	@tools/setup build guest bench
	@bench/run

install: all
	@meson configure $(BUILD) -Dprefix=$(prefix)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-asan build-tsan build-clang

distclean: clean
	rm -rf .cache
