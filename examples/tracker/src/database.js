// Opens the browser's database and keeps it in sync. All tabs share one database, kept in the
// origin private file system; one of them, whichever holds the lock, runs the sync loop.
import { PGliteWorker } from '@electric-sql/pglite/worker';
import { live } from '@electric-sql/pglite/live';
import { overHttp, pglite, startSync } from '../../sync/loop.mjs';

const OFFLINE = 'tracker.offline';

// databases of servers that are no more
async function removeOthers(name) {
  const folder = await navigator.storage.getDirectory();
  for await (const found of folder.keys()) {
    if (found.startsWith('tracker-') && found !== name) await folder.removeEntry(found, { recursive: true }).catch(() => {});
  }
}

async function open() {
  const { name, schema } = await (await fetch('/client.json')).json();
  await removeOthers(name);
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  const db = await PGliteWorker.create(worker, { dataDir: `memfs2opfs://${name}`, extensions: { live } });
  await navigator.locks.request(`${name}-schema`, async () => {
    const { rows: [{ found }] } = await db.query(`SELECT to_regclass('tide_client') IS NOT NULL AS found`);
    if (found) return;
    await db.exec(schema);
    await db.query(`INSERT INTO tide_subscription (shape) VALUES ('board')`);
  });
  return { db, name };
}

// Gives { db, write(text, values), isOffline(), setOffline(boolean), onLine(call) }.
export async function openDatabase({ encryption, token } = {}) {
  const { db, name } = await open();
  const tabs = new BroadcastChannel(name);
  const listeners = [];
  let sync = null;

  const isOffline = () => localStorage.getItem(OFFLINE) !== null;
  const lineChanged = () => {
    sync?.setOnline(!isOffline());
    for (const call of listeners) call();
  };
  const wake = () => {
    sync?.wake();
    tabs.postMessage('wake');
  };
  tabs.onmessage = () => sync?.wake();
  addEventListener('storage', ({ key }) => { if (key === OFFLINE) lineChanged(); });
  for (const event of ['online', 'offline']) addEventListener(event, lineChanged);

  navigator.locks.request(`${name}-sync`, () => {
    sync = startSync(pglite(db), overHttp('/tide'), { encryption, token });
    sync.setOnline(!isOffline());
    return sync.ended;
  });

  return {
    db,
    async write(text, values) {
      await db.query(text, values);
      wake();
    },
    async transaction(work) {
      await db.transaction(work);
      wake();
    },
    isOffline: () => isOffline() || !navigator.onLine,
    setOffline(value) {
      if (value) localStorage.setItem(OFFLINE, 'yes');
      else localStorage.removeItem(OFFLINE);
      lineChanged();
    },
    onLine: (call) => listeners.push(call),
  };
}
