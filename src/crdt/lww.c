/*
 * lww.c
 *	  Last writer wins: register and map.
 */
#include "postgres.h"

#include "crdt/lww.h"
#include "crdt/object.h"

#define REGISTER	"LWW register"
#define MAP			"LWW map"

enum
{
	FIELD_HLC,
	FIELD_VALUE,
	NFIELDS
};

static const char *const field_names[] = {
	[FIELD_HLC] = "hlc",
	[FIELD_VALUE] = "value"
};

/* a register taken apart */
typedef struct Register
{
	bool		written;
	TideHlc		clock;
	const JsonbValue *value;	/* NULL: removed */
} Register;

static void read_register(Jsonb *state, const char *kind, Register *result);
static void read_entry(const JsonbValue *value, Register *result);
static void push_entry(JsonbParseState **state, const JsonbValue *key, const Register *reg);
static bool wins(const Register *a, const Register *b);
static JsonbValue *push_register(JsonbParseState **state, const Register *reg);
static Jsonb *build_register(const Register *reg);

/* ---- register ---- */

Jsonb *
tide_lww_register(Jsonb *value, const TideHlc *clock)
{
	Register	reg = {true, *clock, NULL};
	JsonbValue	unpacked;

	if (value != NULL)
	{
		tide_jsonb_to_value(value, &unpacked);
		reg.value = &unpacked;
	}
	return build_register(&reg);
}

Jsonb *
tide_lww_register_merge(Jsonb *a, Jsonb *b)
{
	Register	reg_a;
	Register	reg_b;

	read_register(a, REGISTER, &reg_a);
	read_register(b, REGISTER, &reg_b);
	return build_register(wins(&reg_a, &reg_b) ? &reg_a : &reg_b);
}

Jsonb *
tide_lww_register_value(Jsonb *state)
{
	Register	reg;

	read_register(state, REGISTER, &reg);
	return reg.value ? tide_value_to_jsonb(reg.value) : NULL;
}

bool
tide_lww_register_clock(Jsonb *state, TideHlc *clock)
{
	Register	reg;

	read_register(state, REGISTER, &reg);
	*clock = reg.clock;
	return reg.written;
}

static void
read_register(Jsonb *state, const char *kind, Register *result)
{
	TideMembers members;
	const JsonbValue *values[NFIELDS];
	const JsonbValue *hlc;

	memset(result, 0, sizeof(*result));
	tide_members_read(state, kind, &members);
	if (members.n == 0)
		return;
	tide_members_find(&members, kind, field_names, NFIELDS, values);
	hlc = values[FIELD_HLC];
	if (hlc == NULL)
		tide_state_malformed(kind, "Field \"%s\" is missing.", field_names[FIELD_HLC]);
	if (hlc->type != jbvString ||
		!tide_hlc_parse(hlc->val.string.val, hlc->val.string.len, &result->clock))
		tide_state_malformed(kind, "Field \"%s\" must be the text of a hybrid logical clock.",
							 field_names[FIELD_HLC]);
	result->written = true;
	result->value = values[FIELD_VALUE];
}

/* Is a the one to be kept? Either may be if they are equal. */
static bool
wins(const Register *a, const Register *b)
{
	int			order;

	if (!a->written || !b->written)
		return a->written;
	order = tide_hlc_compare(&a->clock, &b->clock);
	if (order != 0)
		return order > 0;
	if (a->value == NULL || b->value == NULL)
		return a->value != NULL;
	return tide_jsonb_compare(tide_value_to_jsonb(a->value), tide_value_to_jsonb(b->value)) > 0;
}

/* a register by itself, or the value of the key pushed last */
static JsonbValue *
push_register(JsonbParseState **state, const Register *reg)
{
	char		text[TIDE_HLC_TEXT_LEN + 1];
	JsonbValue	hlc = {.type = jbvString};

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (reg->written)
	{
		tide_hlc_format(&reg->clock, text);
		hlc.val.string.val = pstrdup(text);
		hlc.val.string.len = TIDE_HLC_TEXT_LEN;
		tide_push_member(state, field_names[FIELD_HLC], &hlc);
		if (reg->value != NULL)
			tide_push_member(state, field_names[FIELD_VALUE], reg->value);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static Jsonb *
build_register(const Register *reg)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_register(&state, reg));
}

/* ---- map ---- */

Jsonb *
tide_lww_map_set(Jsonb *state, const char *key, int len, Jsonb *value, const TideHlc *clock)
{
	JsonbParseState *one = NULL;
	JsonbValue	entry;

	tide_jsonb_to_value(tide_lww_register(value, clock), &entry);
	pushJsonbValue(&one, WJB_BEGIN_OBJECT, NULL);
	tide_push_key(&one, key, len);
	pushJsonbValue(&one, WJB_VALUE, &entry);
	return tide_lww_map_merge(state,
							  JsonbValueToJsonb(pushJsonbValue(&one, WJB_END_OBJECT, NULL)));
}

Jsonb *
tide_lww_map_merge(Jsonb *a, Jsonb *b)
{
	TideWalk	walk = {0};
	JsonbParseState *state = NULL;

	tide_members_read(a, MAP, &walk.a);
	tide_members_read(b, MAP, &walk.b);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (tide_walk_next(&walk))
	{
		Register	reg_a;
		Register	reg_b;

		read_entry(walk.value_a, &reg_a);
		read_entry(walk.value_b, &reg_b);
		push_entry(&state, walk.key, wins(&reg_a, &reg_b) ? &reg_a : &reg_b);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
tide_lww_map_value(Jsonb *state)
{
	TideMembers members;
	JsonbParseState *result = NULL;

	tide_members_read(state, MAP, &members);
	pushJsonbValue(&result, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < members.n; i++)
	{
		const JsonbValue *key = &members.pairs[i].key;
		Register	reg;

		read_entry(&members.pairs[i].value, &reg);
		if (reg.value == NULL)
			continue;
		tide_push_key(&result, key->val.string.val, key->val.string.len);
		pushJsonbValue(&result, WJB_VALUE, (JsonbValue *) reg.value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&result, WJB_END_OBJECT, NULL));
}

bool
tide_lww_map_clock(Jsonb *state, TideHlc *clock)
{
	TideMembers members;
	bool		found = false;

	tide_members_read(state, MAP, &members);
	for (int i = 0; i < members.n; i++)
	{
		Register	reg;

		read_entry(&members.pairs[i].value, &reg);
		if (reg.written && (!found || tide_hlc_compare(&reg.clock, clock) > 0))
		{
			*clock = reg.clock;
			found = true;
		}
	}
	return found;
}

Jsonb *
tide_lww_map_prune(Jsonb *state, const TideHlc *before)
{
	TideMembers members;
	JsonbParseState *result = NULL;

	tide_members_read(state, MAP, &members);
	pushJsonbValue(&result, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < members.n; i++)
	{
		Register	reg;

		read_entry(&members.pairs[i].value, &reg);
		if (reg.value != NULL || tide_hlc_compare(&reg.clock, before) >= 0)
			push_entry(&result, &members.pairs[i].key, &reg);
	}
	return JsonbValueToJsonb(pushJsonbValue(&result, WJB_END_OBJECT, NULL));
}

/* one key's register; NULL: there is no such key */
static void
read_entry(const JsonbValue *value, Register *result)
{
	if (value == NULL)
		memset(result, 0, sizeof(*result));
	else
		read_register(tide_value_to_jsonb(value), MAP " entry", result);
}

/* a key that was never written is not shown */
static void
push_entry(JsonbParseState **state, const JsonbValue *key, const Register *reg)
{
	if (!reg->written)
		return;
	tide_push_key(state, key->val.string.val, key->val.string.len);
	push_register(state, reg);
}
