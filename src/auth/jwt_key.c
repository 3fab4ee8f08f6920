/*
 * jwt_key.c
 *	  Keys that tokens are checked with: tide_internal.jwt_keys.
 *
 * The table is scanned directly, as the caller has no rights on it and what counts is what is
 * committed now: a key that was dropped is out at once, in all sessions and on standbys as soon as
 * they know. Secrets leave the table only for the time of one check, and are wiped then.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "auth/jwt_key.h"
#include "util/errors.h"
#include "util/meta_table.h"
#include "util/spi.h"

/* columns as sql/install/60_auth.sql creates them */
enum
{
	Anum_kid = 1,
	Anum_algorithm,
	Anum_key,
	Anum_expires_at
};

/* columns of an INSERT */
#define NCOLUMNS	6

static bool
is_expired(HeapTuple tuple, TupleDesc desc, TimestampTz now)
{
	bool		isnull;
	Datum		expires_at = heap_getattr(tuple, Anum_expires_at, desc, &isnull);

	return !isnull && now >= DatumGetTimestampTz(expires_at);
}

static bool
is_of_algorithm(HeapTuple tuple, TupleDesc desc, TideJwsAlgorithm algorithm)
{
	bool		isnull;
	char	   *name = TextDatumGetCString(heap_getattr(tuple, Anum_algorithm, desc, &isnull));

	return strcmp(name, tide_jws_algorithm_name(algorithm)) == 0;
}

/* a copy of the key, replacing one found before */
static void
copy_key(HeapTuple tuple, TupleDesc desc, TideJwtKey *key)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, Anum_key, desc, &isnull);
	struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);

	tide_jwt_key_wipe(key);
	key->len = VARSIZE_ANY_EXHDR(flat);
	key->data = palloc(key->len);
	memcpy(key->data, VARDATA_ANY(flat), key->len);
	if ((Pointer) flat != DatumGetPointer(value))
	{
		explicit_bzero(VARDATA_ANY(flat), key->len);
		pfree(flat);
	}
}

bool
tide_jwt_key_find(const char *kid, TideJwsAlgorithm algorithm, TimestampTz now,
				  TideJwtKey *key, const char **cause)
{
	Relation	rel = tide_meta_open("jwt_keys", AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			found = 0;

	memset(key, 0, sizeof(*key));
	key->algorithm = algorithm;
	*cause = kid ? "There is no key of the token's \"kid\"." :
		"The token has no \"kid\", and there is no key of its algorithm.";
	if (kid != NULL)
		ScanKeyInit(&scankey, Anum_kid, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(kid));
	scan = systable_beginscan(rel, kid ? tide_meta_relid("jwt_keys_pkey") : InvalidOid,
							  kid != NULL, NULL, kid ? 1 : 0, &scankey);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (!is_of_algorithm(tuple, desc, algorithm))
			*cause = kid ? "The token's algorithm is not that of its key." : *cause;
		else if (is_expired(tuple, desc, now))
			*cause = "The token's key has expired.";
		else
		{
			copy_key(tuple, desc, key);
			found++;
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (found > 1)
	{
		*cause = "The token has no \"kid\", and there are several keys of its algorithm.";
		tide_jwt_key_wipe(key);
	}
	return found == 1;
}

void
tide_jwt_key_wipe(TideJwtKey *key)
{
	if (key->data != NULL)
	{
		explicit_bzero(key->data, key->len);
		pfree(key->data);
	}
	key->data = NULL;
	key->len = 0;
}

static void
check_kid(const char *kid)
{
	if (kid[0] == '\0' || strlen(kid) > TIDE_MAX_KID)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("a kid must have 1 to %d bytes", TIDE_MAX_KID),
				 errhidestmt(true)));
}

static TideJwsAlgorithm
read_algorithm(const char *name)
{
	TideJwsAlgorithm algorithm;

	if (!tide_jws_algorithm(name, &algorithm))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("unrecognized algorithm \"%s\"", name),
				 errhint("Valid algorithms are: HS256, EdDSA, RS256, ES256."),
				 errhidestmt(true)));
	return algorithm;
}

static void
insert_key(const char *kid, TideJwsAlgorithm algorithm, const TideJwsKey *key,
		   const TimestampTz *expires_at)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[NCOLUMNS] = {TEXTOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	char	   *thumbprint = NULL;
	char	   *jwk = tide_jws_key_jwk(algorithm, tide_jws_bytes(key->data, key->len), &thumbprint);
	bytea	   *bytes = palloc(VARHDRSZ + key->len);
	Datum		values[NCOLUMNS] = {
		CStringGetTextDatum(kid),
		CStringGetTextDatum(tide_jws_algorithm_name(algorithm)),
		PointerGetDatum(bytes),
		expires_at ? TimestampTzGetDatum(*expires_at) : (Datum) 0,
		jwk ? CStringGetTextDatum(jwk) : (Datum) 0,
		jwk ? CStringGetTextDatum(thumbprint) : (Datum) 0
	};
	char		nulls[] = "      ";

	SET_VARSIZE(bytes, VARHDRSZ + key->len);
	memcpy(VARDATA(bytes), key->data, key->len);
	if (expires_at == NULL)
		nulls[3] = 'n';
	if (jwk == NULL)
		nulls[4] = nulls[5] = 'n';
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.jwt_keys AS k"
				 " (kid, algorithm, key, expires_at, public_key, thumbprint)"
				 " VALUES ($1, $2, $3, $4, $5::pg_catalog.jsonb, $6)"
				 " ON CONFLICT (kid) DO UPDATE SET expires_at = excluded.expires_at"
				 " WHERE k.algorithm = excluded.algorithm AND k.key = excluded.key",
				 NCOLUMNS, types, values, nulls, false, 0);
	explicit_bzero(VARDATA(bytes), key->len);
}

void
tide_jwt_key_add(const char *kid, const char *algorithm_name, TideJwsBytes given,
				 const TimestampTz *expires_at)
{
	TideJwsAlgorithm algorithm = read_algorithm(algorithm_name);
	TideSpiFrame frame;
	TideJwsKey	key;
	uint64		added;

	check_kid(kid);
	key = tide_jwt_key_read(kid, algorithm, given);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	insert_key(kid, algorithm, &key, expires_at);
	added = SPI_processed;
	tide_spi_end(&frame);
	explicit_bzero(key.data, key.len);
	if (added == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("kid \"%s\" is another key's", kid),
				 errhint("Give each key a kid of its own, or drop the other with tide.drop_jwt_key()."),
				 errhidestmt(true)));
}

void
tide_jwt_key_drop(const char *kid)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(kid)};
	TideSpiFrame frame;
	uint64		dropped;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan, "DELETE FROM tide_internal.jwt_keys WHERE kid = $1",
				 1, types, values, NULL, false, 0);
	dropped = SPI_processed;
	tide_spi_end(&frame);
	if (dropped == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no key of kid \"%s\"", kid)));
}
