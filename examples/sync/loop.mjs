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
  status: `SELECT state || ' ' || received || CASE WHEN remaining > 0 THEN ' more' ELSE '' END FROM tide_status`,
  checkpoint: 'SELECT CAST(checkpoint AS text) FROM tide_client',
  fail: 'UPDATE tide_status SET last_error = $1',
  online: 'UPDATE tide_status SET is_online = true',
  offline: 'UPDATE tide_status SET is_online = false',
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
// better-sqlite3, node:sqlite (of Node 22.5 or later), and others with prepare, get and run
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

// hop.mjs, or anything that takes a POST. A server that sends nothing for so long is given up; a slow line is not.
const PATIENCE = 60_000;
export function overHttp(base, fetch = globalThis.fetch.bind(globalThis), patience = PATIENCE) {
  async function exchange(path, body, cut, rest) {
    const response = await fetch(`${base}/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: cut });
    const reader = response.body?.getReader();
    const decoder = new TextDecoder();
    let text = '';
    for (let part; reader && !(part = await reader.read()).done; rest()) text += decoder.decode(part.value, { stream: true });
    if (response.ok) return text;
    let error = {};
    try { error = JSON.parse(text); } catch { /* a proxy's page */ }
    throw Object.assign(new Error(error.message ?? `HTTP ${response.status}`), { code: error.code });
  }
  const call = (path) => async (body, signal) => {
    const cut = new AbortController();
    const abort = () => cut.abort();
    let timer;
    const rest = () => {
      clearTimeout(timer);
      timer = setTimeout(() => cut.abort(new Error('the server does not answer')), patience);
    };
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      rest();
      return await exchange(path, body, cut.signal, rest);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
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

// Options: signal ends the loop; token() gives the user's token, or nothing; online: false starts
// it switched off; before(send) runs first on each trip, such as to sync keys, by send(kind,
// request); onState(state, error) is told 'offline', 'syncing', 'waiting' or 'failing'.
// Gives { wake(), setOnline(boolean), ended }: wake after local writes and new subscriptions.
export function startSync(db, server, { signal, token = () => null, encryption = plain, online = true, before = () => {}, onState = () => {} } = {}) {
  const browser = typeof globalThis.addEventListener === 'function' ? globalThis : new EventTarget();
  let allowed = online; // by the app's own switch
  let noted = null; // what tide_status says of the line
  let line = new AbortController(); // aborted when the line goes or the loop ends
  let local = makeBell(); // rung by wake()
  let change = makeBell(); // rung when the line comes or goes, or the loop ends
  let news = null; // the wait under way on the server
  let failures = 0;
  let last = null; // how sync stood after the last trip

  // the callback is the app's: what it throws does not end the loop
  const tell = (...args) => {
    try { onState(...args); } catch { /* the app's own matter */ }
  };
  const isEnded = () => signal?.aborted ?? false;
  const isOnline = () => allowed && globalThis.navigator?.onLine !== false;
  const onLineChange = () => {
    if (isEnded() || !isOnline()) line.abort();
    failures = 0;
    change.ring();
  };

  // what may take long: given up at once when the line goes, whether it can be cancelled or not
  function whileOnline(call) {
    const cut = line.signal;
    return new Promise((resolve, reject) => {
      const onCut = () => reject(new Error('cancelled'));
      if (cut.aborted) {
        onCut();
        return;
      }
      cut.addEventListener('abort', onCut, { once: true });
      Promise.resolve(cut).then(call).then(resolve, reject).finally(() => cut.removeEventListener('abort', onCut));
    });
  }
  const send = (kind, request) => whileOnline(async (cut) => {
    const bearer = kind === 'wait' ? null : await token();
    cut.throwIfAborted();
    return server[kind](bearer ? `{"token": ${JSON.stringify(bearer)}, ${request.slice(1)}` : request, cut);
  });

  // sends all there is; the error of what could not be encrypted, if any: no reason to stay without news
  async function push() {
    for (let request, sent = null; (request = await db.run(db.push)) !== null; sent = request) {
      if (request === sent) throw new Error('the server says nothing of what it was sent');
      let encrypted;
      try {
        encrypted = await whileOnline(() => encryption.encryptPush(request));
      } catch (error) {
        return error;
      }
      await db.run(db.apply, await encryption.decryptAnswer(await send('push', encrypted), encrypted));
    }
    return null;
  }

  // pushes all there is, pulls a page; whether there is more to come
  async function trip() {
    await whileOnline(() => before(send));
    const stuck = await push();
    const request = await db.run(db.pull);
    const answer = await send('pull', await whileOnline(() => encryption.preparePull(request)));
    await db.run(db.apply, await encryption.decryptAnswer(answer));
    const status = await db.run(db.status);
    const isNews = status !== last;
    last = status;
    if (status.endsWith('more') && isNews) return 'more';
    if (stuck !== null) throw stuck;
    return status.startsWith('synced') ? 'nothing' : 'later';
  }

  // what the app reads in tide_status; a database that cannot take it now is no reason to end
  async function note(text, ...values) {
    try {
      await db.run(text, ...values);
      return true;
    } catch {
      return false;
    }
  }
  async function noteLine(isUp) {
    if (noted !== isUp && await note(isUp ? db.online : db.offline)) noted = isUp;
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
      tell('offline');
      await noteLine(false);
      await change.rung;
      return;
    }
    if (line.signal.aborted) {
      line = new AbortController();
      news = null;
    }
    try {
      tell('syncing');
      local = makeBell();
      await noteLine(true);
      const more = await trip();
      failures = more === 'later' ? failures + 1 : 0;
      if (more === 'later') await pause(delayAfter(failures), local);
      if (more === 'nothing') {
        tell('waiting');
        await waitForNews();
      }
    } catch (error) {
      if (isEnded() || !isOnline() || line.signal.aborted) return;
      failures += 1;
      tell('failing', error);
      await note(db.fail, String(error?.message ?? error));
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
      signal?.removeEventListener('abort', onLineChange);
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
