/*
 * guc.c
 *	  pg_tide's settings: one table per type, read once at library load.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "util/compat.h"
#include "util/guc.h"

typedef struct IntSetting
{
	const char *name;
	const char *description;
	int		   *variable;
	int			boot;
	int			min;
	int			max;
	GucContext	context;
	int			flags;
} IntSetting;

int			tide_max_page_size = 8192;
int			tide_max_buckets_per_pull = 10000;
int			tide_batch_size = 10000;
int			tide_spool_memory = 16384;
int			tide_apply_memory = 16384;
int			tide_tick_interval = 10000;
char	   *tide_clock = NULL;
int			tide_batch_time = 50;
bool		tide_compaction = true;
int			tide_compaction_batch = 1000;
int			tide_compaction_delay = 20;
int			tide_removed_retention = 7 * 24 * 3600;
int			tide_max_removed_rows = 10000;
int			tide_mutation_retention = 7 * 24 * 3600;
int			tide_client_retention = 90 * 24 * 3600;
int			tide_max_push_mutations = 10000;
int			tide_max_push_size = 32768;
int			tide_max_clock_drift = 60 * 1000;
int			tide_max_bucket_rows = 0;
int			tide_max_shape_rows = 0;
char	   *tide_jwt_audience = NULL;
char	   *tide_jwt_issuer = NULL;
char	   *tide_jwt_role_claim = NULL;
int			tide_jwt_leeway = 30;
bool		tide_jwt_require_exp = true;

static const IntSetting int_settings[] = {
	{"tide.max_page_size",
		"Sets the size of tide.pull's answer beyond which it is cut into pages.",
		&tide_max_page_size, 8192, 1, 1024 * 1024 - 1,
	PGC_USERSET, GUC_UNIT_KB},
	{"tide.max_buckets_per_pull",
		"Sets the number of buckets one call of tide.pull may ask for.",
		&tide_max_buckets_per_pull, 10000, 1, 1000000,
	PGC_SUSET, 0},
	{"tide.batch_size",
		"Sets the number of source changes after which the ingest stores a batch.",
		&tide_batch_size, 10000, 1, 10000000,
	PGC_SIGHUP, 0},
	{"tide.spool_memory",
		"Sets the memory in which the ingest holds a batch before it spills to disk.",
		&tide_spool_memory, 16384, 64, 1024 * 1024,
	PGC_SIGHUP, GUC_UNIT_KB},
	{"tide.apply_memory",
		"Sets the memory for the rows that the ingest stores at a time.",
		&tide_apply_memory, 16384, 64, 1024 * 1024,
	PGC_SIGHUP, GUC_UNIT_KB},
	{"tide.tick_interval",
		"Sets the time after which rows leave and enter shapes with now() without any write.",
		&tide_tick_interval, 10000, 10, INT_MAX,
	PGC_SIGHUP, GUC_UNIT_MS},
	{"tide.batch_time",
		"Sets the time of reading after which the ingest stores a batch.",
		&tide_batch_time, 50, 0, 60 * 1000,
	PGC_SIGHUP, GUC_UNIT_MS},
	{"tide.compaction_batch",
		"Sets the number of change log entries that a step of compaction looks at.",
		&tide_compaction_batch, 1000, 1, 1000000,
	PGC_SIGHUP, 0},
	{"tide.compaction_delay",
		"Sets the time between two steps of compaction.",
		&tide_compaction_delay, 20, 0, 60 * 1000,
	PGC_SIGHUP, GUC_UNIT_MS},
	{"tide.removed_retention",
		"Sets how long the change log remembers removed rows; -1 is for ever.",
		&tide_removed_retention, 7 * 24 * 3600, -1, INT_MAX,
	PGC_SIGHUP, GUC_UNIT_S},
	{"tide.max_removed_rows",
		"Sets how many removed rows beyond its own rows a bucket remembers; -1 is any number.",
		&tide_max_removed_rows, 10000, -1, INT_MAX,
	PGC_SIGHUP, 0},
	{"tide.mutation_retention",
		"Sets how long the mutation log is kept at least; -1 is for ever.",
		&tide_mutation_retention, 7 * 24 * 3600, -1, INT_MAX,
	PGC_SIGHUP, GUC_UNIT_S},
	{"tide.client_retention",
		"Sets how long after its last push a client expires; -1 is never.",
		&tide_client_retention, 90 * 24 * 3600, -1, INT_MAX,
	PGC_SIGHUP, GUC_UNIT_S},
	{"tide.max_push_mutations",
		"Sets the number of mutations one call of tide.push may have.",
		&tide_max_push_mutations, 10000, 1, INT_MAX,
	PGC_SUSET, 0},
	{"tide.max_push_size",
		"Sets the size of a request that tide.push takes.",
		&tide_max_push_size, 32768, 1, 1024 * 1024 - 1,
	PGC_SUSET, GUC_UNIT_KB},
	{"tide.max_clock_drift",
		"Sets how far a client's clock may be ahead of the server's.",
		&tide_max_clock_drift, 60 * 1000, 0, INT_MAX,
	PGC_SUSET, GUC_UNIT_MS},
	{"tide.max_bucket_rows",
		"Sets the number of rows in a bucket beyond which its shape fails; 0 is any number.",
		&tide_max_bucket_rows, 0, 0, INT_MAX,
	PGC_SIGHUP, 0},
	{"tide.max_shape_rows",
		"Sets the number of rows in all of a shape's buckets beyond which it fails; 0 is any number.",
		&tide_max_shape_rows, 0, 0, INT_MAX,
	PGC_SIGHUP, 0},
	{"tide.jwt_leeway",
		"Sets by how much the clock of a token's issuer may differ.",
		&tide_jwt_leeway, 30, 0, 600,
	PGC_SUSET, GUC_UNIT_S},
};

static bool
check_list(char **value, void **extra, GucSource source)
{
	List	   *list = NIL;
	char	   *copy = pstrdup(*value);
	bool		good = SplitGUCList(copy, ',', &list);

	list_free(list);
	pfree(copy);
	if (!good)
		GUC_check_errdetail("List syntax is invalid.");
	return good;
}

/* what tokens must be like; not for clients to set */
static void
define_jwt_settings(void)
{
	DefineCustomStringVariable("tide.jwt_audience",
							   "Sets the audiences of which a token must name one.",
							   "Empty: tokens must not name any.", &tide_jwt_audience, "", PGC_SUSET,
							   GUC_LIST_INPUT, check_list, NULL, NULL);
	DefineCustomStringVariable("tide.jwt_issuer",
							   "Sets the issuers of which a token must name one.",
							   "Empty: any.", &tide_jwt_issuer, "", PGC_SUSET,
							   GUC_LIST_INPUT, check_list, NULL, NULL);
	DefineCustomStringVariable("tide.jwt_role_claim",
							   "Sets the claim of a token that names the role of its pushes.",
							   "Empty: none does.", &tide_jwt_role_claim, "role", PGC_SUSET,
							   0, NULL, NULL, NULL);
	DefineCustomBoolVariable("tide.jwt_require_exp",
							 "Refuses tokens that do not expire.", NULL,
							 &tide_jwt_require_exp, true, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* a point in time, or nothing; settings are read outside of transactions, so no input function */
static bool
check_clock(char **value, void **extra, GucSource source)
{
	char		work[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			nfields;
	int			kind;
	int			tz;
	struct pg_tm tm;
	fsec_t		fsec;
	TimestampTz time;

	if (**value == '\0')
		return true;
	if (ParseDateTime(*value, work, sizeof(work), fields, types, MAXDATEFIELDS, &nfields) != 0 ||
		DecodeDateTime(fields, types, nfields, &kind, &tm, &fsec, &tz TIDE_DATETIME_EXTRA) != 0 ||
		kind != DTK_DATE || tm2timestamp(&tm, fsec, &tz, &time) != 0)
	{
		GUC_check_errdetail("It is neither empty nor a date and time, as in \"2030-01-01 12:00:00+00\".");
		return false;
	}
	return true;
}

void
tide_guc_init(void)
{
	for (int i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->description, NULL, s->variable,
								s->boot, s->min, s->max, s->context, s->flags,
								NULL, NULL, NULL);
	}
	DefineCustomStringVariable("tide.clock",
							   "Sets the time that the ingest takes for now, for tests of time windows.",
							   "Empty: the system's clock.", &tide_clock, "", PGC_SUSET,
							   GUC_NOT_IN_SAMPLE, check_clock, NULL, NULL);
	DefineCustomBoolVariable("tide.compaction",
							 "Removes superseded entries from the change log.", NULL,
							 &tide_compaction, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	define_jwt_settings();
	MarkGUCPrefixReserved("tide");
}
