/*
 * spi.c
 *	  The one way pg_tide runs SQL.
 *
 * A frame holds what has to be put back: user, security context and a GUC nest
 * level. Nothing here needs PG_TRY: on ERROR the abort of the (sub)transaction
 * restores user, security context and settings, and SPI closes itself.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "util/spi.h"

#define TIDE_SEARCH_PATH	"pg_catalog, pg_temp"

typedef struct FixedSetting
{
	const char *name;
	const char *value;			/* as SHOW writes it */
} FixedSetting;

static const FixedSetting fixed_settings[] = {
	{"TimeZone", "UTC"},
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},
	{"quote_all_identifiers", "off"},
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"search_path", TIDE_SEARCH_PATH},
};

/*
 * Set one setting until the current GUC nest level ends; nothing to do, and
 * nothing to undo, where it holds already.
 */
static void
set_setting(const char *name, const char *value)
{
	const char *current = GetConfigOption(name, false, false);

	if (current != NULL && strcmp(current, value) == 0)
		return;
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

int
tide_settings_push(void)
{
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(fixed_settings); i++)
		set_setting(fixed_settings[i].name, fixed_settings[i].value);
	return nest_level;
}

void
tide_settings_pop(int nest_level)
{
	AtEOXact_GUC(false, nest_level);
}

void
tide_settings_set(void)
{
	for (int i = 0; i < lengthof(fixed_settings); i++)
		(void) set_config_option(fixed_settings[i].name, fixed_settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
								 true, 0, false);
}

void
tide_user_push(TideSpiFrame *frame, Oid user_id)
{
	MemSet(frame, 0, sizeof(*frame));
	GetUserIdAndSecContext(&frame->save_user, &frame->save_sec_context);
	SetUserIdAndSecContext(user_id, frame->save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	frame->guc_nest_level = NewGUCNestLevel();
	set_setting("search_path", TIDE_SEARCH_PATH);
	frame->as_owner = true;
}

/* by a rollback: a SET by his code would outlive the nest level */
void
tide_user_pop(TideSpiFrame *frame)
{
	AtEOXact_GUC(false, frame->guc_nest_level);
	SetUserIdAndSecContext(frame->save_user, frame->save_sec_context);
}

void
tide_user_reset(TideSpiFrame *frame)
{
	AtEOXact_GUC(false, frame->guc_nest_level);
	frame->guc_nest_level = NewGUCNestLevel();
	set_setting("search_path", TIDE_SEARCH_PATH);
}

/*
 * Owner of the extension, InvalidOid if it is not there. *other: its version if it is not this
 * library's. Under a historic snapshot no version is other: an update must not stop what decodes the WAL before it.
 */
static Oid
read_extension(char **other)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	*other = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("pg_tide"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		version = heap_getattr(tuple, Anum_pg_extension_extversion,
										   RelationGetDescr(rel), &isnull);
		char	   *string = TextDatumGetCString(version);

		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		if (strcmp(string, TIDE_VERSION) != 0 && !HistoricSnapshotActive())
			*other = string;
		else
			pfree(string);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

char *
tide_extension_other_version(void)
{
	char	   *other;

	(void) read_extension(&other);
	return other;
}

static void
refuse_version(const char *other)
{
	if (other != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is of version %s in this database, its library of version %s",
						"pg_tide", other, TIDE_VERSION),
				 errhint("Run ALTER EXTENSION pg_tide UPDATE; if that was done, restart the server.")));
}

void
tide_extension_check_version(void)
{
	refuse_version(tide_extension_other_version());
}

Oid
tide_extension_owner(void)
{
	char	   *other;
	Oid			owner = read_extension(&other);

	refuse_version(other);
	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"pg_tide\" does not exist in this database"),
				 errhint("Run CREATE EXTENSION pg_tide.")));
	return owner;
}

static void
connect_frame(TideSpiFrame *frame)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not connect to the SPI manager")));
	frame->connected = true;
}

void
tide_spi_begin(TideSpiFrame *frame, TideSpiUser as)
{
	if (as == TIDE_AS_OWNER)
		tide_user_push(frame, tide_extension_owner());
	else
		MemSet(frame, 0, sizeof(*frame));
	connect_frame(frame);
}

void
tide_spi_begin_user(TideSpiFrame *frame, Oid user_id)
{
	tide_user_push(frame, user_id);
	connect_frame(frame);
}

void
tide_spi_end(TideSpiFrame *frame)
{
	if (frame->connected)
		(void) SPI_finish();
	frame->connected = false;
	if (frame->as_owner)
		tide_user_pop(frame);
	frame->as_owner = false;
}

int
tide_spi_run(SPIPlanPtr *plan, const char *sql, int nargs,
			 const Oid *types, const Datum *values, const char *nulls,
			 bool read_only, long limit)
{
	int			code;

	if (*plan == NULL)
	{
		SPIPlanPtr	fresh = SPI_prepare(sql, nargs, unconstify(Oid *, types));

		if (fresh == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not prepare a statement: %s",
							SPI_result_code_string(SPI_result)),
					 errdetail("The statement is: %s", sql)));
		SPI_keepplan(fresh);
		*plan = fresh;
	}

	code = SPI_execute_plan(*plan, unconstify(Datum *, values), nulls,
							read_only, limit);
	if (code < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not run a statement: %s",
						SPI_result_code_string(code)),
				 errdetail("The statement is: %s", sql)));
	return code;
}

uint64
tide_spi_run_for(const char *sql, int id)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(id)};
	uint64		n;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	n = SPI_processed;
	tide_spi_end(&frame);
	return n;
}
