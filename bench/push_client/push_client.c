/*
 * push_client.c
 *	  One connection that writes rows as clients of bench/push.sh do.
 *
 *	push_client WAY OP FIRST COUNT BATCH [TABLE [VALUES]]
 *
 * writes the rows FIRST .. FIRST + COUNT - 1 in transactions of BATCH rows, OP being
 * insert, update or delete, and WAY one of
 *
 *	plain		BEGIN, a prepared statement for each row, COMMIT; one after the other
 *	pipeline	the same in libpq's pipeline mode, one round trip for each transaction
 *	push		one prepared SELECT tide.push($1) for each transaction
 *
 * VALUES says what an update writes and what it sends with it: overwrite (title and n), counter
 * (n, with its base), hlc (title and n, with a clock). Prints wall seconds and the CPU seconds
 * of the backend. Building the requests is the client's work and not counted in either.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

typedef struct Text
{
	char	   *data;
	size_t		len;
	size_t		size;
} Text;

typedef struct Run
{
	PGconn	   *conn;
	const char *way;
	const char *op;
	const char *table;
	const char *values;
	long		first;
	long		count;
	long		batch;
	char		client[37];
	int			clocks;			/* of this millisecond */
} Run;

static void fail(PGconn *conn, const char *what)
{
	fprintf(stderr, "push_client: %s: %s", what, PQerrorMessage(conn));
	exit(1);
}

static void check(PGconn *conn, PGresult *result, ExecStatusType wanted, const char *what)
{
	if (PQresultStatus(result) != wanted)
		fail(conn, what);
	PQclear(result);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* CPU seconds of a process so far */
static double cpu_of(int pid)
{
	char		path[64];
	unsigned long user,
				sys;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (file == NULL ||
		fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			   &user, &sys) != 2)
		exit(1);
	fclose(file);
	return (double) (user + sys) / sysconf(_SC_CLK_TCK);
}

static void add(Text *text, const char *what)
{
	size_t		len = strlen(what);

	if (text->len + len + 1 > text->size)
	{
		text->size = (text->len + len + 1) * 2;
		text->data = realloc(text->data, text->size);
		if (text->data == NULL)
			exit(1);
	}
	memcpy(text->data + text->len, what, len + 1);
	text->len += len;
}

/* a clock as the client of that run would have it: now, and a counter within the millisecond */
static void format_clock(Run *run, char *out, size_t size)
{
	struct timeval t;

	gettimeofday(&t, NULL);
	snprintf(out, size, "%012llx-%04x-%.16s",
			 (unsigned long long) t.tv_sec * 1000 + t.tv_usec / 1000,
			 run->clocks++ & 0xffff, "00000000000000c1");
}

static void add_mutation(Run *run, Text *text, long mutation, long id)
{
	char		buffer[512];
	bool		counter = strcmp(run->values, "counter") == 0;

	snprintf(buffer, sizeof(buffer),
			 "%s{\"id\":%ld,\"op\":\"%s\",\"table\":\"%s\",\"key\":{\"id\":%ld}",
			 mutation % run->batch == 1 || run->batch == 1 ? "" : ",",
			 mutation, run->op, run->table, id);
	add(text, buffer);
	if (strcmp(run->op, "insert") == 0)
		snprintf(buffer, sizeof(buffer),
				 ",\"values\":{\"owner\":\"user %ld\",\"title\":\"the title of %ld\",\"n\":%ld,"
				 "\"at\":\"2026-11-21T09:00:00Z\"}", id % 100, id, id % 1000);
	else if (strcmp(run->op, "update") == 0 && counter)
		snprintf(buffer, sizeof(buffer), ",\"values\":{\"n\":%ld},\"base\":{\"n\":%ld}",
				 id % 1000 + 1, id % 1000);
	else if (strcmp(run->op, "update") == 0)
		snprintf(buffer, sizeof(buffer),
				 ",\"values\":{\"title\":\"another title of %ld\",\"n\":%ld}", id, id % 777);
	else
		buffer[0] = '\0';
	add(text, buffer);
	if (strcmp(run->values, "hlc") == 0)
	{
		char		clock[64];

		format_clock(run, clock, sizeof(clock));
		snprintf(buffer, sizeof(buffer), ",\"hlc\":\"%s\"", clock);
		add(text, buffer);
	}
	add(text, "}");
}

static void push_batch(Run *run, long at, long n, Text *text)
{
	const char *params[1];
	PGresult   *result;

	text->len = 0;
	add(text, "{\"client\":\"");
	add(text, run->client);
	add(text, "\",\"mutations\":[");
	for (long i = 0; i < n; i++)
		add_mutation(run, text, at + i + 1, run->first + at + i);
	add(text, "]}");

	params[0] = text->data;
	result = PQexecPrepared(run->conn, "push", 1, params, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(run->conn, "push");
	if (strstr(PQgetvalue(result, 0, 0), "\"rejected\"") != NULL ||
		strstr(PQgetvalue(result, 0, 0), "\"conflict\"") != NULL)
	{
		fprintf(stderr, "push_client: %.400s\n", PQgetvalue(result, 0, 0));
		exit(1);
	}
	PQclear(result);
}

/* the prepared statement of one row: params of it, in text */
static int row_params(const Run *run, long id, char buffers[5][64], const char *params[5])
{
	bool		counter = strcmp(run->values, "counter") == 0;
	int			n = 0;

	snprintf(buffers[n++], 64, "%ld", id);
	if (strcmp(run->op, "insert") == 0)
	{
		snprintf(buffers[n++], 64, "user %ld", id % 100);
		snprintf(buffers[n++], 64, "the title of %ld", id);
		snprintf(buffers[n++], 64, "%ld", id % 1000);
		snprintf(buffers[n++], 64, "2026-11-21T09:00:00Z");
	}
	else if (strcmp(run->op, "update") == 0 && counter)
		snprintf(buffers[n++], 64, "1");
	else if (strcmp(run->op, "update") == 0)
	{
		snprintf(buffers[n++], 64, "another title of %ld", id);
		snprintf(buffers[n++], 64, "%ld", id % 777);
	}
	for (int i = 0; i < n; i++)
		params[i] = buffers[i];
	return n;
}

static void plain_batch(Run *run, long at, long n)
{
	char		buffers[5][64];
	const char *params[5];

	if (n > 1)
		check(run->conn, PQexecPrepared(run->conn, "begin", 0, NULL, NULL, NULL, 0),
			  PGRES_COMMAND_OK, "begin");
	for (long i = 0; i < n; i++)
	{
		int			nparams = row_params(run, run->first + at + i, buffers, params);
		PGresult   *result = PQexecPrepared(run->conn, "row", nparams, params, NULL, NULL, 0);

		if (strcmp(PQcmdTuples(result), "1") != 0)
			fail(run->conn, "row");
		check(run->conn, result, PGRES_COMMAND_OK, "row");
	}
	if (n > 1)
		check(run->conn, PQexecPrepared(run->conn, "commit", 0, NULL, NULL, NULL, 0),
			  PGRES_COMMAND_OK, "commit");
}

static void pipeline_result(Run *run)
{
	PGresult   *result = PQgetResult(run->conn);

	check(run->conn, result, PGRES_COMMAND_OK, "pipeline");
	while ((result = PQgetResult(run->conn)) != NULL)
		PQclear(result);
}

/* answers are read every 100 rows, so that neither side's buffers fill up */
static void pipeline_batch(Run *run, long at, long n)
{
	char		buffers[5][64];
	const char *params[5];
	long		sent = 1,
				read = 0;

	if (PQenterPipelineMode(run->conn) != 1 ||
		PQsendQueryPrepared(run->conn, "begin", 0, NULL, NULL, NULL, 0) != 1)
		fail(run->conn, "pipeline");
	for (long i = 0; i < n; i++)
	{
		int			nparams = row_params(run, run->first + at + i, buffers, params);

		if (PQsendQueryPrepared(run->conn, "row", nparams, params, NULL, NULL, 0) != 1)
			fail(run->conn, "pipeline");
		sent++;
		if (sent - read >= 200)
		{
			if (PQsendFlushRequest(run->conn) != 1)
				fail(run->conn, "pipeline");
			while (sent - read > 100)
			{
				pipeline_result(run);
				read++;
			}
		}
	}
	if (PQsendQueryPrepared(run->conn, "commit", 0, NULL, NULL, NULL, 0) != 1 ||
		PQpipelineSync(run->conn) != 1)
		fail(run->conn, "pipeline");
	for (sent++; read < sent; read++)
		pipeline_result(run);
	check(run->conn, PQgetResult(run->conn), PGRES_PIPELINE_SYNC, "sync");
	if (PQexitPipelineMode(run->conn) != 1)
		fail(run->conn, "pipeline");
}

static void prepare(Run *run, const char *name, const char *sql)
{
	check(run->conn, PQprepare(run->conn, name, sql, 0, NULL), PGRES_COMMAND_OK, sql);
}

static void prepare_all(Run *run)
{
	char		sql[256];

	prepare(run, "push", "SELECT tide.push($1)");
	prepare(run, "begin", "BEGIN");
	prepare(run, "commit", "COMMIT");
	if (strcmp(run->op, "insert") == 0)
		snprintf(sql, sizeof(sql),
				 "INSERT INTO %s (id, owner, title, n, at) VALUES ($1, $2, $3, $4, $5)", run->table);
	else if (strcmp(run->op, "update") == 0)
		snprintf(sql, sizeof(sql), "UPDATE %s SET %s WHERE id = $1", run->table,
				 strcmp(run->values, "counter") == 0 ? "n = n + $2" : "title = $2, n = $3");
	else
		snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE id = $1", run->table);
	prepare(run, "row", sql);
}

int main(int argc, char **argv)
{
	Run			run = {0};
	Text		text = {0};
	double		wall,
				cpu;

	if (argc < 6)
	{
		fprintf(stderr, "usage: push_client WAY OP FIRST COUNT BATCH [TABLE [VALUES]]\n");
		return 2;
	}
	run.way = argv[1];
	run.op = argv[2];
	run.first = atol(argv[3]);
	run.count = atol(argv[4]);
	run.batch = atol(argv[5]);
	run.table = argc > 6 ? argv[6] : "items";
	run.values = argc > 7 ? argv[7] : "overwrite";
	run.conn = PQconnectdb("");
	if (PQstatus(run.conn) != CONNECTION_OK)
		fail(run.conn, "connect");
	snprintf(run.client, sizeof(run.client), "%08x-0000-4000-8000-%012llx",
			 (unsigned) getpid(), (unsigned long long) time(NULL));
	prepare_all(&run);

	cpu = cpu_of(PQbackendPID(run.conn));
	wall = now();
	for (long at = 0; at < run.count; at += run.batch)
	{
		long		n = run.count - at < run.batch ? run.count - at : run.batch;

		if (strcmp(run.way, "push") == 0)
			push_batch(&run, at, n, &text);
		else if (strcmp(run.way, "pipeline") == 0)
			pipeline_batch(&run, at, n);
		else
			plain_batch(&run, at, n);
	}
	printf("%.6f %.3f\n", now() - wall, cpu_of(PQbackendPID(run.conn)) - cpu);
	PQfinish(run.conn);
	free(text.data);
	return 0;
}
