// The keys of this browser: those of confidential fields, and the device's own, of which the server
// has a backup under the user's passphrase. doc/encryption.md explains devices, grants and trust.
//
// They are in localStorage, for a browser has no better place that works off line: who can read the
// disk can read the rows, too, which are plain in the local database. All tabs use them, one at a
// time; the tab that syncs sends and fetches them.
import { Encryption, Keyring, fingerprint } from '../../encryption/index.mjs';
import { parse, stringify } from '../../encryption/json.mjs';

const SCOPE = 'board'; // one key for all confidential fields
export const PLACE = 'tracker.keys'; // and the lock of who uses them
const OPENED = 'tracker.opened'; // ids of the keys the local database was filled with
const GRANTS = 'tide.key_grants';
const subscriptions = { people: [{}] };
const noKeys = { key: () => undefined, keyOf: () => undefined, close: () => {} };

const rowsOf = (keyring, table) => Object.values(keyring.rows).filter((held) => held.table === table).map(({ row }) => row);

// what the page shows of a keyring: every device once, though two shapes bring it
function describe(keyring) {
  const grants = rowsOf(keyring, GRANTS).filter(({ scope }) => scope === SCOPE);
  const devices = new Map(keyring.devices.filter(({ revoked_at }) => revoked_at === null).map((device) => [device.device_id, device]));
  const isOpen = keyring.keyOf(SCOPE) !== undefined;
  return {
    state: isOpen ? 'open' : 'waiting',
    refusal: keyring.rejected.findLast(({ code }) => code !== '23505')?.message, // what is there already is no problem
    devices: [...devices.values()].map((device) => ({
      id: device.device_id,
      user: device.subject,
      print: fingerprint(device),
      isThis: device.device_id === keyring.deviceId,
      hasKey: grants.some(({ device_id }) => device_id === device.device_id),
      isGiver: !isOpen && grants.some(({ device_id, granted_by }) => device_id === keyring.deviceId && granted_by === device.device_id),
    })).sort((a, b) => b.isThis - a.isThis || (a.user < b.user ? -1 : 1)),
  };
}

// Gives { encryption, before(send, db), show(), onChange(call), hasBackup(), create(passphrase),
// recover(passphrase), share(id), trust(id) }. ask(kind, request) sends with the user's token.
export function makeKeys(user, ask) {
  const listeners = [];
  const tell = () => listeners.forEach((call) => call());
  addEventListener('storage', ({ key }) => { if (key === PLACE) tell(); });
  const tables = { 'public.issues': { columns: { confidential: 'text' }, scope: SCOPE } };
  const encryption = new Encryption({ keyring: noKeys, tables });
  let loaded = null; // the text encryption.keyring is made of

  function put(keyring, former) {
    const text = keyring.save();
    if (text === former) return;
    localStorage.setItem(PLACE, text);
    tell();
  }
  // undefined where there are no keys yet
  const use = (work) => navigator.locks.request(PLACE, async () => {
    const text = localStorage.getItem(PLACE);
    if (text === null) return undefined;
    const keyring = Keyring.load(text);
    try {
      const result = work(keyring);
      put(keyring, text);
      return result;
    } finally {
      keyring.close();
    }
  });
  const start = (make) => navigator.locks.request(PLACE, async () => {
    if (localStorage.getItem(PLACE) !== null) return;
    const keyring = make();
    put(keyring, null);
    keyring.close();
  });

  // ---- sync, by the tab that does it ----

  // whoever is first makes the key; if two are, the server takes one, and the other is granted it some day
  const makeFirst = (keyring) => {
    const isThere = rowsOf(keyring, GRANTS).some(({ scope }) => scope === SCOPE) || keyring.keyOf(SCOPE) !== undefined
      || keyring.outbox.some(({ table }) => table === GRANTS) || keyring.rejected.length > 0;
    if (!isThere) keyring.rotate(SCOPE);
    return !isThere;
  };
  async function exchange(send) {
    do {
      const push = await use((keyring) => keyring.pushRequest());
      if (push) {
        const answer = await send('push', push);
        await use((keyring) => keyring.applyPush(answer));
      }
      for (let isComplete = false; isComplete === false;) {
        const pull = await use((keyring) => keyring.pullRequest());
        if (pull === undefined) return;
        const answer = await send('pull', pull);
        isComplete = await use((keyring) => keyring.applyPull(answer));
      }
    } while (await use(makeFirst));
  }
  // values whose key was not there are null in the local database: with a new key all rows are asked for again
  async function load(db) {
    const text = localStorage.getItem(PLACE);
    if (text === null || text === loaded) return;
    encryption.keyring.close();
    encryption.keyring = Keyring.load(text);
    encryption.problems.length = 0;
    loaded = text;
    const ids = parse(text).dataKeys.filter(({ confirmed }) => confirmed).map(({ bytes }) => bytes.slice(0, 32)).sort().join();
    if (ids === (localStorage.getItem(OPENED) ?? '')) return;
    await db.query('UPDATE tide_bucket SET resync = true');
    localStorage.setItem(OPENED, ids);
  }

  // ---- what the user does ----

  // the rows of shape tide_keys, for a browser that has no keys yet
  async function pullOwn() {
    const rows = [];
    const client = crypto.randomUUID();
    for (let answer = { cookie: null }; answer.complete !== true;) {
      answer = parse(await ask('pull', stringify({ client, shapes: { tide_keys: [{}] }, cookie: answer.cookie })));
      rows.push(...answer.changes.filter(({ op }) => op === 'put'));
    }
    const revoked = new Set(rows.filter(({ row }) => row.revoked_at !== undefined && row.revoked_at !== null).map(({ row }) => row.device_id));
    return rows.filter(({ table, row }) => table === 'tide.key_backups' && !revoked.has(row.device_id)).map(({ row }) => row);
  }
  const deviceOf = (keyring, id) => keyring.devices.find(({ device_id }) => device_id === id);

  return {
    encryption,
    async before(send, db) {
      await exchange(send);
      await load(db);
    },
    show() {
      const text = localStorage.getItem(PLACE);
      if (text === null) return { state: 'none', devices: [] };
      const keyring = Keyring.load(text);
      const shown = describe(keyring);
      keyring.close();
      return shown;
    },
    onChange: (call) => listeners.push(call),
    hasBackup: async () => (await pullOwn()).length > 0,
    create: (passphrase) => start(() => {
      const keyring = Keyring.create({ subject: user, name: 'browser', subscriptions });
      keyring.backup(passphrase);
      return keyring;
    }),
    async recover(passphrase) {
      const backups = await pullOwn();
      await start(() => {
        let problem = new Error('there is no backup');
        for (const { backup, device_id } of backups) {
          try {
            return Keyring.recover({ backup, passphrase, deviceId: device_id, subject: user, subscriptions });
          } catch (error) {
            problem = error;
          }
        }
        throw problem;
      });
    },
    // fingerprints have been compared
    share: (id) => use((keyring) => {
      keyring.trust(deviceOf(keyring, id));
      keyring.grant(SCOPE, deviceOf(keyring, id));
    }),
    trust: (id) => use((keyring) => keyring.trust(deviceOf(keyring, id))),
  };
}
