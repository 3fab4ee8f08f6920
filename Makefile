# pg_tide: PGXS build. `make help` lists the targets.
EXTENSION  = pg_tide
MODULE_big = pg_tide
TIDE_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = pg_tide--$(TIDE_VERSION).sql
DATA = $(wildcard sql/upgrade/*.sql)

PG_CPPFLAGS = -I$(srcdir)/src -DTIDE_VERSION=\"$(TIDE_VERSION)\"
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare -Wno-declaration-after-statement
SHLIB_LINK = -lsodium
EXTRA_CLEAN = pg_tide--$(TIDE_VERSION).sql

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
# bitcode is never built: the server's JIT has nothing to inline from us
override with_llvm = no
include $(PGXS)

pg_tide--$(TIDE_VERSION).sql: $(sort $(wildcard sql/install/*.sql))
	cat $^ > $@

$(OBJS): $(wildcard src/*.h src/*/*.h)
