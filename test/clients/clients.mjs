// Two kinds of client behind one face: a database with the generated schema and
// nothing else. `sql` runs statements and gives the rows of the last one.
import { spawn, spawnSync } from 'node:child_process';
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

// The same with one sqlite3 that stays, as an app's process does. It may be killed at any moment; the next
// statement starts another one.
export class SqliteProcess extends SqliteClient {
  static async create(script, file) {
    rmSync(file, { force: true });
    const client = new SqliteProcess();
    client.kind = 'sqlite';
    client.file = file;
    await client.sql(readFileSync(script, 'utf8'));
    return client;
  }

  start() {
    const child = spawn('stdbuf', ['-oL', 'sqlite3', '-bail', '-batch', '-json', this.file], { stdio: 'pipe' });
    const state = { out: '', error: '', waiting: null };
    child.stdout.setEncoding('utf8').on('data', (text) => {
      state.out += text;
      if (!state.out.endsWith('\u0004\n')) return;
      const rows = state.out.slice(0, -2).trim();
      state.out = '';
      state.waiting?.resolve(rows === '' ? [] : JSON.parse(rows));
    });
    child.stderr.setEncoding('utf8').on('data', (text) => { state.error += text; });
    child.stdin.on('error', () => {});
    child.on('close', () => {
      if (this.child === child) this.child = null;
      state.waiting?.reject(new Error(state.error.trim() || 'sqlite3 was killed'));
    });
    Object.assign(this, { child, state });
    // kill -9 of a process loses nothing that the kernel has
    child.stdin.write('PRAGMA synchronous = OFF;\n');
  }

  // after an error the process has ended, and what was not committed is undone
  sql(text) {
    if (!this.child) this.start();
    const { child, state } = this;
    return new Promise((resolve, reject) => {
      state.waiting = { resolve, reject };
      child.stdin.write(`${text}\n;\n.print \u0004\n`);
    });
  }

  // kill -9; statements given with it may have been done or not
  async kill(text = '', milliseconds = 0) {
    const done = this.sql(text).catch(() => {});
    const { child } = this;
    await new Promise((resolve) => { setTimeout(resolve, milliseconds); });
    const closed = new Promise((resolve) => { child.on('close', resolve); });
    if (this.child === child) {
      child.kill('SIGKILL');
      await closed;
    }
    await done;
  }

  async close() {
    this.child?.stdin.end();
  }
}

export class PgliteClient {
  // A copy of another client, as it is now: much faster than a new one. It is the same client to the
  // server until it is given another id. With a folder it can be closed and opened again.
  static async copy(dump, folder) {
    const client = new PgliteClient();
    client.kind = 'postgres';
    client.folder = folder;
    client.db = await PGlite.create({ dataDir: folder, loadDataDir: dump });
    return client;
  }

  async reopen() {
    await this.db.close();
    this.db = await PGlite.create({ dataDir: this.folder });
  }

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
