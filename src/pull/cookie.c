/*
 * cookie.c
 *	  What a client hands back on its next pull.
 *
 *	{"v": 1, "n": 42, "epoch": "…uuid", "client": "…uuid",
 *	 "at": [[812, [3, 7, 9]], …],			op_id reached, in which buckets
 *	 "first": [[11, 640, 812, 500], …],		bucket, cursor, init, rows sent
 *	 "mutations": [17, 16]}					last told, rejected ones told up to
 *
 * A bucket the client has nothing of yet is not in it. After a complete pull "at" has one
 * element and "first" none, so the cookie grows with the number of buckets alone.
 * "n" is one more than in the cookie of the request: of answers that come late or twice a client
 * knows by it those that are not to the cookie it has.
 * "mutations" are those of "client": an expired client goes on under another id, with the
 * buckets it has.
 * It carries no secret and no right: buckets served are those of the request, and who
 * forges positions only misses rows of its own.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pull/cookie.h"
#include "pull/request.h"
#include "store/epoch.h"
#include "util/json_read.h"
#include "util/json_text.h"

#define COOKIE_VERSION	1

static bool read_cookie(TideCookie *cookie, JsonbContainer *root, const pg_uuid_t *epoch);
static bool uuid_member(JsonbContainer *object, const char *name, pg_uuid_t *result);
static bool is_uuid(JsonbContainer *object, const char *name, const pg_uuid_t *expected);
static bool is_later(JsonbContainer *root, const pg_uuid_t *epoch);
static int64 number_of(JsonbContainer *root);

TideCookie *
tide_cookie_parse(Jsonb *cookie, const pg_uuid_t *epoch, const pg_uuid_t *client)
{
	TideCookie *result = palloc0(sizeof(TideCookie));
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(TidePosition);
	ctl.hcxt = CurrentMemoryContext;
	result->positions = hash_create("tide cookie positions", 64, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	result->valid = cookie == NULL ||
		(JB_ROOT_IS_OBJECT(cookie) && read_cookie(result, &cookie->root, epoch));
	if (cookie != NULL && JB_ROOT_IS_OBJECT(cookie))
		result->n = number_of(&cookie->root);
	if (!result->valid)
	{
		result->newest = 0;
		result->later = JB_ROOT_IS_OBJECT(cookie) && is_later(&cookie->root, epoch);
	}
	if (!result->valid || cookie == NULL || client == NULL ||
		!is_uuid(&cookie->root, "client", client))
	{
		result->last_mutation_id = 0;
		result->reported = 0;
	}
	return result;
}

/* member that is an array, or NULL */
static JsonbContainer *
array_member(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &value) == NULL ||
		value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		return NULL;
	return value.val.binary.data;
}

static JsonbContainer *
array_element(JsonbContainer *array, uint32 i)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, i);

	if (value == NULL || value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

/* i-th element as an integer >= 0; false if it is none */
static bool
int_element(JsonbContainer *array, uint32 i, int64 *result)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array, i);

	return value != NULL && tide_jsonb_int64(value, result) && *result >= 0;
}

/* note a bucket; false if it was there before */
static bool
add_position(TideCookie *cookie, int64 bucket_id, TidePosition **position)
{
	bool		found;

	*position = hash_search(cookie->positions, &bucket_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) *position + sizeof(int64), 0,
			   sizeof(TidePosition) - sizeof(int64));
	return !found;
}

/* one element of "at" */
static bool
read_group(TideCookie *cookie, JsonbContainer *group)
{
	JsonbContainer *ids;
	int64		cursor = 0;
	bool		ok;

	if (group == NULL || (ids = array_element(group, 1)) == NULL)
		return false;
	ok = int_element(group, 0, &cursor);
	cookie->newest = Max(cookie->newest, cursor);
	for (uint32 i = 0; i < JsonContainerSize(ids); i++)
	{
		int64		id;
		TidePosition *position;

		if (!int_element(ids, i, &id) || !add_position(cookie, id, &position))
			ok = false;
		else
			position->cursor = cursor;
	}
	return ok;
}

/* one element of "first" */
static bool
read_first(TideCookie *cookie, JsonbContainer *first)
{
	int64		id;
	TidePosition *position;

	if (first == NULL || !int_element(first, 0, &id) ||
		!add_position(cookie, id, &position))
		return false;
	position->first_sync = true;
	if (!int_element(first, 1, &position->cursor) ||
		!int_element(first, 2, &position->init) ||
		!int_element(first, 3, &position->sent))
		return false;
	cookie->newest = Max(cookie->newest, Max(position->cursor, position->init));
	return true;
}

/* member that is a uuid; false if it is none */
static bool
uuid_member(JsonbContainer *object, const char *name, pg_uuid_t *result)
{
	JsonbValue	value;
	char	   *text;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &value) == NULL ||
		value.type != jbvString)
		return false;
	text = pnstrdup(value.val.string.val, value.val.string.len);
	if (!tide_looks_like_uuid(text))
		return false;
	*result = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
	return true;
}

static bool
is_uuid(JsonbContainer *object, const char *name, const pg_uuid_t *expected)
{
	pg_uuid_t	uuid;

	return uuid_member(object, name, &uuid) && memcmp(&uuid, expected, sizeof(uuid)) == 0;
}

/* whether it is of this history; a former epoch's is, up to *last_op_id */
static bool
is_current(JsonbContainer *root, const pg_uuid_t *epoch, int64 *last_op_id)
{
	JsonbValue	value;
	int64		version;
	pg_uuid_t	uuid;

	*last_op_id = PG_INT64_MAX;

	if (getKeyJsonValueFromContainer(root, "v", 1, &value) == NULL ||
		!tide_jsonb_int64(&value, &version) || version != COOKIE_VERSION)
		return false;
	if (!uuid_member(root, "epoch", &uuid))
		return false;
	return memcmp(&uuid, epoch, sizeof(uuid)) == 0 || tide_epoch_find(&uuid, last_op_id);
}

/* whether it is of an epoch that this server has not heard of yet */
static bool
is_later(JsonbContainer *root, const pg_uuid_t *epoch)
{
	pg_uuid_t	uuid;

	return uuid_member(root, "epoch", &uuid) && tide_epoch_is_later(&uuid, epoch);
}

/* also of another server's cookie; 0 if it has none */
static int64
number_of(JsonbContainer *root)
{
	JsonbValue	value;
	int64		n;

	if (getKeyJsonValueFromContainer(root, "n", 1, &value) == NULL ||
		!tide_jsonb_int64(&value, &n) || n < 0 || n == PG_INT64_MAX)
		return 0;
	return n;
}

/* reads on after a fault: the buckets named are to be dropped */
static bool
read_cookie(TideCookie *cookie, JsonbContainer *root, const pg_uuid_t *epoch)
{
	JsonbContainer *at = array_member(root, "at");
	JsonbContainer *first = array_member(root, "first");
	JsonbContainer *mutations = array_member(root, "mutations");
	int64		last_op_id;
	bool		ok = is_current(root, epoch, &last_op_id) && at != NULL && first != NULL &&
	mutations != NULL;

	for (uint32 i = 0; at != NULL && i < JsonContainerSize(at); i++)
		ok &= read_group(cookie, array_element(at, i));
	for (uint32 i = 0; first != NULL && i < JsonContainerSize(first); i++)
		ok &= read_first(cookie, array_element(first, i));
	return ok && cookie->newest <= last_op_id &&
		int_element(mutations, 0, &cookie->last_mutation_id) &&
		int_element(mutations, 1, &cookie->reported);
}

/* first syncs last; the others by cursor, so that equal ones make a group */
static int
compare_positions(const void *a, const void *b)
{
	const TidePosition *x = *(TidePosition *const *) a;
	const TidePosition *y = *(TidePosition *const *) b;

	if (x->first_sync != y->first_sync)
		return x->first_sync - y->first_sync;
	if (x->cursor != y->cursor && !x->first_sync)
		return x->cursor < y->cursor ? -1 : 1;
	return (x->bucket_id > y->bucket_id) - (x->bucket_id < y->bucket_id);
}

static void
write_int(StringInfo out, const char *before, int64 value)
{
	appendStringInfoString(out, before);
	tide_json_int64(out, value);
}

void
tide_cookie_write(StringInfo out, int64 n, const pg_uuid_t *epoch, const pg_uuid_t *client,
				  TidePosition **positions, int npositions, int64 last_mutation_id,
				  int64 reported)
{
	int			i = 0;

	qsort(positions, npositions, sizeof(TidePosition *), compare_positions);
	appendStringInfo(out, "{\"v\":%d,\"n\":" INT64_FORMAT ",\"epoch\":", COOKIE_VERSION, n);
	tide_json_uuid(out, epoch->data);
	if (client != NULL)
	{
		appendStringInfoString(out, ",\"client\":");
		tide_json_uuid(out, client->data);
	}
	appendStringInfoString(out, ",\"at\":[");
	for (; i < npositions && !positions[i]->first_sync; i++)
	{
		if (i == 0 || positions[i]->cursor != positions[i - 1]->cursor)
		{
			write_int(out, i == 0 ? "[" : "]],[", positions[i]->cursor);
			write_int(out, ",[", positions[i]->bucket_id);
		}
		else
			write_int(out, ",", positions[i]->bucket_id);
	}
	appendStringInfoString(out, i > 0 ? "]]],\"first\":[" : "],\"first\":[");
	for (int first = i; i < npositions; i++)
	{
		write_int(out, i == first ? "[" : ",[", positions[i]->bucket_id);
		write_int(out, ",", positions[i]->cursor);
		write_int(out, ",", positions[i]->init);
		write_int(out, ",", positions[i]->sent);
		appendStringInfoChar(out, ']');
	}
	write_int(out, "],\"mutations\":[", last_mutation_id);
	write_int(out, ",", reported);
	appendStringInfoString(out, "]}");
}
