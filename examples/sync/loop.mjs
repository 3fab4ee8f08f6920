// A sync loop for a client database that tide.client_schema() made: pushes, pulls, waits for
// news. Copy it into your app. Requests and answers are text all the way.
//
//   const sync = startSync(pglite(db), overHttp('/tide'), { signal });
//   await db.query('UPDATE issues …');
//   sync.wake();

// ---- databases: a dialect's statements, and how a driver runs one and gives its first value ----

const postgres = {
  push: 'SELECT tide_push_request()',
  pull: 'SELECT tide_pull_request()',
  apply: 'SELECT tide_apply($1)',
  status: `SELECT state || CASE WHEN remaining > 0 THEN ' more' ELSE '' END FROM tide_status`,
  checkpoint: 'SELECT CAST(checkpoint AS text) FROM tide_client',
  fail: 'UPDATE tide_status SET last_error = $1',
};
const sqlite = {
  ...postgres,
  push: 'SELECT request FROM tide_push_request',
  pull: 'SELECT request FROM tide_pull_request',
  apply: 'INSERT INTO tide_inbox(response) VALUES ($1)',
};
const first = (row) => Object.values(row ?? {})[0] ?? null;

export const pglite = (db) => ({ ...postgres, run: async (text, ...values) => first((await db.query(text, values)).rows[0]) });
export const sqljs = (db) => ({ ...sqlite, run: async (text, ...values) => first(db.exec(text, values)[0]?.values[0]) });
// node:sqlite, better-sqlite3, and others with prepare, get and run
export const prepared = (db) => ({
  ...sqlite,
  run: async (text, ...values) => {
    const statement = db.prepare(text.replace('$1', '?'));
    return text.startsWith('SELECT') ? first(statement.get(...values)) : first([statement.run(...values) && null]);
  },
});

// ---- servers: push, pull, wait ----

// query(text, values) → { rows }, such as that of pg's Pool
export function overSql(query) {
  const call = async (text, ...values) => first((await query(text, values)).rows[0]);
  return {
    push: (request) => call('SELECT tide.push($1::jsonb)::text', request),
    pull: (request) => call('SELECT tide.pull($1::jsonb)::text', request),
    wait: (after) => call('SELECT tide.wait($1::bigint)::text', after),
  };
}

// hop.mjs, or anything that takes a POST; what takes longer than this is given up
const LONGEST = 60_000;
export function overHttp(base, fetch = globalThis.fetch.bind(globalThis)) {
  const call = (path) => async (body, signal) => {
    const cut = new AbortController();
    const abort = () => cut.abort();
    const timer = setTimeout(() => cut.abort(new Error('the server does not answer')), LONGEST);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    let response;
    let text;
    try {
      response = await fetch(`${base}/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: cut.signal });
      text = await response.text();
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
    if (response.ok) return text;
    let error = {};
    try { error = JSON.parse(text); } catch { /* a proxy's page */ }
    throw Object.assign(new Error(error.message ?? `HTTP ${response.status}`), { code: error.code });
  };
  return { push: call('push'), pull: call('pull'), wait: call('wait') };
}

// ---- the loop ----

const FIRST_DELAY = 1_000;
const LAST_DELAY = 30_000;
// full size half of the time, so that clients of a server that comes back do not come all at once
export const delayAfter = (failures, random = Math.random) =>
  Math.min(LAST_DELAY, FIRST_DELAY * 2 ** Math.min(failures - 1, 20)) * (0.5 + random() / 2);

// encryption stands between requests and the wire; the Encryption of examples/encryption fits
const plain = { encryptPush: async (text) => text, preparePull: async (text) => text, decryptAnswer: async (text) => text };

function makeBell() {
  const bell = {};
  bell.rung = new Promise((resolve) => { bell.ring = resolve; });
  return bell;
}

// Options: signal ends the loop; token() gives the user's token; online: false starts it switched
// off; onState(state, error) is told 'offline', 'syncing', 'waiting' or 'failing'.
// Gives { wake(), setOnline(boolean), ended }: wake after local writes and new subscriptions.
export function startSync(db, server, { signal, token, encryption = plain, online = true, onState = () => {} } = {}) {
  const browser = typeof globalThis.addEventListener === 'function' ? globalThis : new EventTarget();
  let allowed = online; // by the app's own switch
  let line = new AbortController(); // aborted when the line goes or the loop ends
  let local = makeBell(); // rung by wake()
  let change = makeBell(); // rung when the line comes or goes, or the loop ends
  let news = null; // the wait under way on the server
  let failures = 0;

  const isEnded = () => signal?.aborted ?? false;
  const isOnline = () => allowed && globalThis.navigator?.onLine !== false;
  const onLineChange = () => {
    if (isEnded() || !isOnline()) line.abort();
    failures = 0;
    change.ring();
  };

  // what goes over the wire: ends at once when the line goes, whether the driver can cancel or not
  function send(kind, body) {
    const cut = line.signal;
    return new Promise((resolve, reject) => {
      const onCut = () => reject(new Error('cancelled'));
      if (cut.aborted) {
        onCut();
        return;
      }
      cut.addEventListener('abort', onCut, { once: true });
      server[kind](body, cut).then(resolve, reject).finally(() => cut.removeEventListener('abort', onCut));
    });
  }
  async function authenticated(request) {
    return token === undefined ? request : `{"token": ${JSON.stringify(await token())}, ${request.slice(1)}`;
  }

  // pushes all there is, pulls a page; whether there is more to come
  async function trip() {
    for (let request; (request = await db.run(db.push)) !== null;) {
      const sent = await encryption.encryptPush(request);
      await db.run(db.apply, await encryption.decryptAnswer(await send('push', await authenticated(sent)), sent));
    }
    const answer = await send('pull', await authenticated(await encryption.preparePull(await db.run(db.pull))));
    await db.run(db.apply, await encryption.decryptAnswer(answer));
    const status = await db.run(db.status);
    if (status.startsWith('synced')) return 'nothing';
    return status.endsWith('more') && !/"changes":\[\]/.test(answer) ? 'more' : 'later';
  }

  async function pause(milliseconds, ...bells) {
    let timer;
    const over = new Promise((resolve) => { timer = setTimeout(resolve, milliseconds); });
    await Promise.race([over, change.rung, ...bells.map((bell) => bell.rung)]);
    clearTimeout(timer);
  }

  // until the server has news or the app calls; a wait goes on while the app's writes are sent
  async function waitForNews() {
    if (news === null) {
      const after = await db.run(db.checkpoint);
      news = send('wait', after);
      news.catch(() => {});
    }
    const called = Symbol('called');
    const asked = Promise.race([local.rung, change.rung]).then(() => called);
    const result = await Promise.race([news.catch((error) => { news = null; throw error; }), asked]);
    if (result !== called) news = null;
  }

  async function step() {
    if (!isOnline()) {
      onState('offline');
      await change.rung;
      return;
    }
    if (line.signal.aborted) {
      line = new AbortController();
      news = null;
    }
    try {
      onState('syncing');
      local = makeBell();
      const more = await trip();
      failures = more === 'later' ? failures + 1 : 0;
      if (more === 'later') await pause(delayAfter(failures), local);
      if (more === 'nothing') {
        onState('waiting');
        await waitForNews();
      }
    } catch (error) {
      if (isEnded() || !isOnline() || line.signal.aborted) return;
      failures += 1;
      onState('failing', error);
      await db.run(db.fail, error.message);
      await pause(delayAfter(failures));
    }
  }

  async function loop() {
    for (const event of ['online', 'offline']) browser.addEventListener(event, onLineChange);
    signal?.addEventListener('abort', onLineChange);
    try {
      while (!isEnded()) {
        change = makeBell();
        await step();
      }
    } finally {
      for (const event of ['online', 'offline']) browser.removeEventListener(event, onLineChange);
      line.abort();
    }
  }

  return {
    wake: () => local.ring(),
    setOnline(value) {
      allowed = value;
      onLineChange();
    },
    ended: loop(),
  };
}
