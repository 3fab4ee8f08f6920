// Opens the browser's database and keeps it in sync. All tabs share one database, kept in the
// origin private file system; one of them, whichever holds the lock, runs the sync loop.
import { LeaderChangedError, PGliteWorker } from '@electric-sql/pglite/worker';
import { overHttp, pglite, startSync } from '../../sync/loop.mjs';
import { session } from './session.js';

const OFFLINE = 'tracker.offline';
const SCHEMA = 'tracker.schema'; // digest of the script that was run

// Removes databases of servers that are no more, and of users who have signed out. The tab that
// had one open may not be gone yet: then it is tried again.
let kept = null;
export async function removeOthers() {
  const folder = await navigator.storage.getDirectory();
  for (let tries = 0, left = 1; left > 0 && tries < 60; tries += 1) {
    left = 0;
    for await (const found of folder.keys()) {
      const isOurs = kept === null ? found.endsWith(`-${session().id}`) : found === kept;
      if (!found.startsWith('tracker-') || isOurs) continue;
      await folder.removeEntry(found, { recursive: true }).catch(() => { left += 1; });
    }
    if (left > 0) await new Promise((resolve) => { setTimeout(resolve, 500); });
  }
}

async function digest(text) {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// The tab whose worker holds the database may close at any moment: the next one takes over, and
// what was under way may or may not have happened. So what is done here may be done twice.
async function again(call) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      if (tries > 1 && error.code === '23505') return undefined; // inserted the time before
      if (!(error instanceof LeaderChangedError) || tries === 5) throw error;
    }
  }
}

async function open() {
  const { name: server, schema } = await (await fetch('/client.json')).json();
  const name = `${server}-${session().id}`;
  kept = name;
  removeOthers();
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  const db = await PGliteWorker.create(worker, { dataDir: `memfs2opfs://${name}` });
  await navigator.locks.request(`${name}-schema`, async () => {
    const { rows: [{ found }] } = await again(() => db.query(`SELECT to_regclass('tide_client') IS NOT NULL AS found`));
    const version = await digest(schema);
    if (found && localStorage.getItem(SCHEMA) === version) return;
    // on a database that is there already it is an upgrade: rows and writes stay
    await again(() => db.exec(schema));
    await again(() => db.query(`INSERT INTO tide_subscription (shape) VALUES ('board') ON CONFLICT DO NOTHING`));
    localStorage.setItem(SCHEMA, version);
  });
  return { db, name };
}

// Queries that are asked again whenever something has changed, one at a time each.
function makeWatches(db) {
  const watches = new Set();
  async function refresh(watch) {
    watch.isStale = true;
    if (watch.isBusy) return;
    watch.isBusy = true;
    try {
      while (watch.isStale) {
        watch.isStale = false;
        const { rows } = await again(() => db.query(watch.text, watch.values));
        if (watches.has(watch)) watch.call(rows);
      }
    } finally {
      watch.isBusy = false;
    }
  }
  return {
    refreshAll: () => watches.forEach(refresh),
    async watch(text, values, call) {
      const watch = { text, values, call, isBusy: false, isStale: false };
      watches.add(watch);
      await refresh(watch);
      return () => watches.delete(watch);
    },
  };
}

// Gives { query(text, values), watch(text, values, call), write(text, values), transaction(work),
// wake(), isOffline(), setOffline(boolean), onLine(call) }. options are those of startSync; before
// gets the database, too.
export async function openDatabase({ before, ...options } = {}) {
  const { db, name } = await open();
  const { watch, refreshAll } = makeWatches(db);
  const tabs = new BroadcastChannel(name);
  const listeners = [];
  let sync = null;

  const changed = (what) => {
    refreshAll();
    tabs.postMessage(what);
  };
  tabs.onmessage = ({ data }) => {
    refreshAll();
    if (data === 'written') sync?.wake();
  };
  const written = () => {
    sync?.wake();
    changed('written');
  };

  const isOffline = () => localStorage.getItem(OFFLINE) !== null;
  const lineChanged = () => {
    sync?.setOnline(!isOffline());
    for (const call of listeners) call();
  };
  addEventListener('storage', ({ key }) => { if (key === OFFLINE) lineChanged(); });
  for (const event of ['online', 'offline']) addEventListener(event, lineChanged);

  const client = pglite(db);
  async function run(text, ...values) {
    const value = await again(() => client.run(text, ...values));
    if (![client.push, client.pull, client.status, client.checkpoint].includes(text)) changed('synced');
    return value;
  }
  const query = (text, values) => again(() => db.query(text, values));
  navigator.locks.request(`${name}-sync`, () => {
    sync = startSync({ ...client, run }, overHttp('/tide'), { ...options, before: (send) => before?.(send, { query }), online: !isOffline() });
    return sync.ended;
  });

  return {
    query,
    watch,
    async write(text, values) {
      await query(text, values);
      written();
    },
    wake: written,
    isOffline: () => isOffline() || !navigator.onLine,
    setOffline(value) {
      if (value) localStorage.setItem(OFFLINE, 'yes');
      else localStorage.removeItem(OFFLINE);
      lineChanged();
    },
    onLine: (call) => listeners.push(call),
  };
}
