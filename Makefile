# pg_tide: PGXS build. `make help` lists the targets.
EXTENSION  = pg_tide
MODULE_big = pg_tide
# (not VERSION: PGXS has that name for the server)
TIDE_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)

C_FILES = $(sort $(wildcard src/*.[ch] src/*/*.[ch]))
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = pg_tide--$(TIDE_VERSION).sql
DATA = $(wildcard sql/upgrade/*.sql)

# tests are found by name, so none can be forgotten
REGRESS      = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=pg_tide
ISOLATION    = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=pg_tide $(ISOLATION_EXPECTED)
TAP_FILES    = $(or $(TIDE_TAP_FILES),$(sort $(wildcard test/tap/*.pl)))
CLIENT_FILES = $(sort $(wildcard test/clients/*.pl))
SOAK_FILES   = $(sort $(wildcard test/soak/*.pl))
PGTAP_FILES  = $(sort $(wildcard test/pgtap/*.sql))
LINT_FILES   = $(sort $(wildcard test/lint/*.sh))
ifneq ($(TAP_FILES),)
TAP_TESTS    = 1
endif
PROVE_TESTS  = $(TAP_FILES)

PG_CPPFLAGS = -I$(srcdir)/src -DTIDE_VERSION=\"$(TIDE_VERSION)\" -MMD -MP
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers \
	-Wno-sign-compare -Wno-declaration-after-statement
ifneq ($(filter 1 true yes,$(CI) $(WERROR)),)
PG_CFLAGS += -Werror
endif
SHLIB_LINK = -lsodium -lcrypto
EXTRA_CLEAN = src/client/*.inc pg_tide--$(TIDE_VERSION).sql .build-flags $(OBJS:.o=.d) tmp_check build

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
# bitcode is never built: the server's JIT has nothing to inline from us
override with_llvm := no

.PHONY: all install installcheck clean
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
else
all install installcheck:
	@echo "PG_CONFIG=$(PG_CONFIG) is not a PostgreSQL with server headers; test/setup.sh installs one" >&2; exit 1
endif

# (after PGXS, which empties it)
override PROVE_FLAGS += -I test/perl --timer $(TIDE_PROVE_JOBS:%=-j%) $(TEST_FORMATTER)

# PostgreSQL 16 parted the folder of expected files from that of the inputs
ifeq ($(filter 15,$(MAJORVERSION)),)
ISOLATION_EXPECTED = --expecteddir=test/isolation
endif

pg_tide--$(TIDE_VERSION).sql: $(sort $(wildcard sql/install/*.sql)) pg_tide.control
	cat $(filter %.sql,$^) > $@

# the templates of client schemas, quoted for C
src/client/%.inc: sql/client/%.sql
	sed -e 's/[\\"]/\\&/g' -e 's/^.*$$/"&\\n"/' $< > $@
src/client/dialect.o: src/client/sqlite.inc src/client/postgres.inc

# Objects are rebuilt when a header they include, a compiler flag or the
# PostgreSQL built against changes.
-include $(wildcard $(OBJS:.o=.d))
$(OBJS): .build-flags
.build-flags: FORCE
	@printf '%s\n' '$(CC) $(CFLAGS) $(CPPFLAGS) $(shell $(PG_CONFIG) --version 2>/dev/null)' > $@.new; \
	if cmp -s $@.new $@; then rm -f $@.new; else mv -f $@.new $@; fi
FORCE:

## test: set up, build, install and run every test in a throw-away cluster
test:
	@PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/run.sh

## test-matrix: `make test` on PostgreSQL 15, 17 and 18, in chroots (Debian, as root)
test-matrix:
	@test/matrix.sh

## demo: two offline clients sync with a real database, in a throw-away cluster
demo: setup
	@$(MAKE) -s install PG_CONFIG='$(PG_CONFIG)'
	@PG_CONFIG='$(PG_CONFIG)' examples/demo/run.sh

## example: an issue tracker in the browser, against a throw-away cluster, until Ctrl-C
example: setup
	@$(MAKE) -s install PG_CONFIG='$(PG_CONFIG)'
	@PG_CONFIG='$(PG_CONFIG)' examples/tracker/run.sh

## setup: install what build and tests need (Debian, as root), else say what is missing
setup:
	@PG_CONFIG='$(PG_CONFIG)' test/setup.sh

## lint: check the tree against the house rules
lint: all
	@PG_CONFIG='$(PG_CONFIG)' prove $(PROVE_FLAGS) --exec bash $(LINT_FILES)

## pgtap: pgTAP tests in a throw-away cluster (needs `make install`)
pgtap:
	@PG_CONFIG='$(PG_CONFIG)' test/cluster.sh run test/pgtap.sh $(PGTAP_FILES)

## sanitize: run the tests under ASan and UBSan, in a copy of the tree and of PostgreSQL
sanitize:
	@PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/sanitize.sh

## checks: cppcheck and clang-tidy, which must find nothing
checks:
	@PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/checks.sh

## coverage: the tests under ASan and UBSan with line coverage, TAP tests too; at least 90 % of src/
coverage:
	@TIDE_COVERAGE=$${TIDE_COVERAGE:-90} TIDE_SANITIZE_STAGES='regress isolation pgtap workload tap fuzz token request crypto push' \
		PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/sanitize.sh

## fuzz: fuzz the output plugin's options, tokens, requests, ciphertext and pushes under ASan and UBSan, TIDE_FUZZ_SECONDS (120) each
fuzz:
	@TIDE_SANITIZE_STAGES='fuzz token request crypto push' TIDE_FUZZ_SECONDS=$${TIDE_FUZZ_SECONDS:-120} PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/sanitize.sh

## soak: faults under load for TIDE_SOAK_SECONDS (1800), then everything compared
soak:
	@TIDE_STAGES='build install soak' TIDE_SOAK_SECONDS=$${TIDE_SOAK_SECONDS:-1800} TIDE_STAGE_SECONDS=$${TIDE_STAGE_SECONDS:-7200} \
		PG_CONFIG='$(PG_CONFIG)' MAKE='$(MAKE)' test/run.sh

## bench: all benchmarks, each in a throw-away cluster (needs `make install`); writes doc/benchmarks.md
bench:
	@TIDE_BENCH=1 PG_CONFIG='$(PG_CONFIG)' test/setup.sh || echo 'bench: no plots without gnuplot' >&2
	@PG_CONFIG='$(PG_CONFIG)' bench/all.sh

## deb: the Debian package for the PostgreSQL of PG_CONFIG, in build/
deb:
	@PG_CONFIG='$(PG_CONFIG)' .ci/deb.sh

## dist: the zip for PGXN of what is committed, in build/
dist:
	@mkdir -p build
	@git archive --format=zip --prefix=pg_tide-$(TIDE_VERSION)/ -o build/pg_tide-$(TIDE_VERSION).zip HEAD
	@echo build/pg_tide-$(TIDE_VERSION).zip

## reference: write doc/reference.md anew from the catalog of the installed pg_tide
reference:
	@PG_CONFIG='$(PG_CONFIG)' test/cluster.sh run sh -c 'psql -Xqd postgres -v ON_ERROR_STOP=1 -c "CREATE EXTENSION pg_tide" \
		-f test/reference.sql' > $(srcdir)/doc/reference.md.new && mv doc/reference.md.new doc/reference.md

## typedefs: write src/typedefs.list anew from the source and the server's headers
typedefs:
	@test/indent.pl --typedefs $(includedir_server) $(C_FILES) > src/typedefs.list

## indent: lay out the C code as pgindent does
indent:
	@PG_CONFIG='$(PG_CONFIG)' test/indent.pl $(C_FILES)

## indent-check: fail if `make indent` would change a file
indent-check:
	@PG_CONFIG='$(PG_CONFIG)' test/indent.pl --check $(C_FILES)

# the parts of installcheck one by one, as `make test` runs them
installcheck-regress:
	$(pg_regress_installcheck) $(REGRESS_OPTS) $(REGRESS)
installcheck-isolation:
	$(pg_isolation_regress_installcheck) $(ISOLATION_OPTS) $(ISOLATION)
installcheck-tap:
	$(prove_installcheck)
installcheck-clients: PROVE_TESTS = $(CLIENT_FILES)
installcheck-clients:
	$(prove_installcheck)
installcheck-soak: PROVE_TESTS = $(SOAK_FILES)
installcheck-soak:
	$(prove_installcheck)

# what test/run.sh expects each part to run
list-%:
	@echo $($*)

## help: this list
help:
	@echo "usual targets: all, install, installcheck (against your running server), clean, uninstall"
	@sed -n 's/^## \([a-z-]*\): /  \1\t/p' Makefile | expand -t 18
	@echo "variables: PG_CONFIG=path of the server's pg_config; WERROR=1 (or CI=1) turns warnings into errors"

.PHONY: test test-matrix demo example setup lint pgtap sanitize checks coverage fuzz soak bench deb dist reference typedefs indent indent-check help FORCE \
	installcheck-regress installcheck-isolation installcheck-tap installcheck-clients installcheck-soak
.DEFAULT_GOAL := all
