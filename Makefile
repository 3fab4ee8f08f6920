# pg_tide: PGXS build. `make help` lists the targets.
EXTENSION  = pg_tide
MODULE_big = pg_tide
VERSION   := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
DATA_built = pg_tide--$(VERSION).sql
DATA = $(wildcard sql/upgrade/*.sql)

PG_CPPFLAGS = -I$(srcdir)/src -DTIDE_VERSION=\"$(VERSION)\"
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare -Wno-declaration-after-statement
SHLIB_LINK = -lsodium
EXTRA_CLEAN = pg_tide--$(VERSION).sql src/client/*.inc

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
with_llvm = no
include $(PGXS)

# bitcode is never built: the server's JIT has nothing to inline from us
override with_llvm = no

pg_tide--$(VERSION).sql: $(sort $(wildcard sql/install/*.sql))
	cat $^ > $@

$(OBJS): $(wildcard src/*.h src/*/*.h)

# the templates of client schemas, quoted for C
src/client/%.inc: sql/client/%.sql
	sed -e 's/[\\"]/\\&/g' -e 's/^.*$$/"&\\n"/' $< > $@
src/client/dialect.o: src/client/sqlite.inc src/client/postgres.inc
