// Two kinds of client behind one face: a database with the generated schema and
// nothing else. `sql` runs statements and gives the rows of the last one.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { PGlite } from '@electric-sql/pglite';

export class SqliteClient {
  static async create(script, file) {
    rmSync(file, { force: true });
    const client = new SqliteClient();
    client.kind = 'sqlite';
    client.file = file;
    await client.sql(readFileSync(script, 'utf8'));
    return client;
  }

  async sql(text) {
    const run = spawnSync('sqlite3', ['-bail', '-batch', '-json', this.file], { input: text, encoding: 'utf8', maxBuffer: 1 << 28 });
    if (run.status !== 0 || run.stderr) throw new Error(run.stderr.trim() || `sqlite3 ended with ${run.status}`);
    return run.stdout.trim() === '' ? [] : JSON.parse(run.stdout);
  }

  async pullRequest() {
    return (await this.sql('SELECT request FROM tide_pull_request'))[0].request;
  }

  async pushRequest() {
    return (await this.sql('SELECT request FROM tide_push_request'))[0].request;
  }

  async apply(response) {
    const text = typeof response === 'string' ? response : JSON.stringify(response);
    await this.sql(`INSERT INTO tide_inbox(response) VALUES ('${text.replaceAll("'", "''")}');`);
  }

  async close() {}
}

export class PgliteClient {
  // from: a client whose database is used again, emptied; starting one takes seconds
  static async create(script, file, from) {
    const client = new PgliteClient();
    client.kind = 'postgres';
    client.db = from?.db ?? await PGlite.create();
    if (from) {
      await client.sql(`DO $$ DECLARE n name; BEGIN FOR n IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', n); END LOOP; END $$; CREATE SCHEMA public;`);
    }
    await client.sql(readFileSync(script, 'utf8'));
    return client;
  }

  async sql(text) {
    try {
      return (await this.db.exec(text)).at(-1)?.rows ?? [];
    } catch (error) {
      await this.db.exec('ROLLBACK');
      throw error;
    }
  }

  async pullRequest() {
    return (await this.sql('SELECT tide_pull_request() AS request'))[0].request;
  }

  async pushRequest() {
    return (await this.sql('SELECT tide_push_request() AS request'))[0].request;
  }

  async apply(response) {
    const text = typeof response === 'string' ? response : JSON.stringify(response);
    await this.sql(`SELECT tide_apply('${text.replaceAll("'", "''")}')`);
  }

  async close() {
    await this.db.close();
  }
}
