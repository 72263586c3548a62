# SPDX-License-Identifier: GPL-2.0-or-later
# The front door. Meson does the work; every target sets up what it needs.
#
#   make run      build, make a small Linux guest, boot it on the serial console
#   make image    a whole Debian on a disk image, for `make test` and trying things out
#   make test     build and run everything that CI runs (tools/run-tests --help)
#   make guests  the sample guests, in build/guest/samples (guest/samples)
#   make check    the fast tests only (under a minute, no privileges, no guest)
#   make bench    measurements beside QEMU TCG where it is installed (BENCH_ARGS='--rounds 1')
#   make bench-engines   programs natively and on every engine (BENCH_ARGS='--programs fib')
#   make bench-io     an emulated disk beside hypercalls (BENCH_ARGS='--sectors 1000000')
#   make install  DESTDIR= and prefix= as usual
#   make clean    removes build directories (the downloaded guest stays in .cache)

BUILD  ?= build
prefix ?= /usr/local
RING3   = $(BUILD)/src/cli/ring3
GUEST   = .cache/guest

SHELL       = /bin/bash
.SHELLFLAGS = -o pipefail -c

export BUILD

.PHONY: all run image guests test check bench bench-engines bench-io install clean distclean setup

# Even --quiet, Ninja says that it had nothing to do, and prints all of Meson's
# output when it runs that again.
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,--quiet build.ninja) >$(BUILD)/ninja.log 2>&1 || \
	    { cat $(BUILD)/ninja.log; exit 1; }
	@ninja -C $(BUILD) $(if $(V),-v,--quiet) | sed -u '/^ninja: no work to do/d'

setup:
	@tools/setup build

$(BUILD)/build.ninja: | setup
	@echo "make: configuring and building ring3 in $(BUILD)/"
	@meson setup $(BUILD) --prefix=$(prefix) >$(BUILD).setup.log 2>&1 || \
	    { cat $(BUILD).setup.log; exit 1; }; mv $(BUILD).setup.log $(BUILD)/setup.log

$(GUEST)/initrd.cpio.gz: tools/fetch-guest guest/linux/init
	@tools/setup build guest
	@tools/fetch-guest

# 86: it was ended with Ctrl-A x.
run: all $(GUEST)/initrd.cpio.gz
	@if [ -t 0 ]; then mode= ; else mode=demo; fi; \
	$(RING3) run --kernel $(GUEST)/vmlinuz --initrd $(GUEST)/initrd.cpio.gz \
	    --append "console=ttyS0 quiet $$mode" --memory 512M $(RUN_ARGS) || \
	    { status=$$?; [ $$status = 86 ] || exit $$status; }

# The script knows whether there is something to do.
image:
	@tools/setup image
	@tools/make-image

guests: all
	@ls $(BUILD)/guest/samples/sample-* | grep -v '\.p$$'

# The packages first: tests whose library Meson does not find are not built.
test:
	@tools/setup build guest image test
	@$(MAKE) --no-print-directory all $(GUEST)/initrd.cpio.gz
	@tools/make-image || echo "make: no Debian image: the tests that boot it are skipped"
	@tools/fetch-guest --e1000
	@tools/fetch-boot || echo "make: some systems are not there: their tests are skipped"
	@tools/run-tests

check: all
	@tools/run-tests --fast

bench: all $(GUEST)/initrd.cpio.gz
	@tools/setup build guest bench
	@bench/run $(BENCH_ARGS)
	@tools/setup image && tools/make-image && bench/debian || echo "make: no Debian was measured"

# What it found missing is in its output; a figure that is not met is no error of make.
bench-engines: all $(GUEST)/initrd.cpio.gz
	@tools/setup build guest bench
	@bench/engines/run $(BENCH_ARGS)

bench-io: all
	@bench/io $(BENCH_ARGS)

# The prefix first: what is installed where is settled when Meson runs again.
install: $(BUILD)/build.ninja
	@meson configure $(BUILD) -Dprefix=$(abspath $(prefix))
	@$(MAKE) --no-print-directory all
	@DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-asan build-tsan build-clang

distclean: clean
	rm -rf .cache
