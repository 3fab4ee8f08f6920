// Many clients that wait for one change, and pull it: what it costs the server and how long it takes. Prints
// "CLIENTS server-cpu-s wait-cpu-s hop-cpu-s p50-ms p99-ms last-ms"
// for each round; fails unless every client got the change, once, by its own pull.
//
//   clients.mjs hop URL HOP-PID CLIENTS ROUNDS     long polls over HTTP, one socket each, by examples/sync/hop.mjs
//   clients.mjs direct - - CLIENTS ROUNDS          a session each, in tide.wait
//
// PGDATA names the cluster's data directory. Each client has a uuid and a cookie of its own. Times are from just
// before the UPDATE to when the client has its answer.
import { randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import pg from 'pg';

const [, , way, url, hopPid, clients, rounds] = process.argv;
const count = Number(clients);
const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: Infinity });
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// ---- CPU of processes, in seconds ----

const postmaster = readFileSync(`${process.env.PGDATA}/postmaster.pid`, 'utf8').split('\n')[0];
const parentOf = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')[1];
function ofProcesses(read) {
  const found = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try { read(pid, found); } catch { /* it has ended */ }
  }
  return found;
}
const serverCpu = () => ofProcesses((pid, found) => {
  if (parentOf(pid) === postmaster || pid === postmaster) found.set(pid, Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e9);
});
const since = (before, after) => [...after].reduce((sum, [pid, cpu]) => sum + cpu - (before.get(pid) ?? 0), 0);
function hopCpu() {
  if (way !== 'hop') return 0;
  const fields = readFileSync(`/proc/${hopPid}/stat`, 'utf8').split(') ').pop().split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// ---- the two ways to ask ----

// connected() is called when the request has a socket
function post(path, body, connected = () => {}) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/${path}`, { method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => { text += part; });
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`${response.statusCode} ${text}`))));
    });
    request.on('socket', (socket) => (socket.connecting ? socket.once('connect', connected) : connected()));
    // the hop closes sockets that were idle for some seconds
    request.on('error', (error) => (error.code === 'ECONNRESET' && request.reusedSocket ? resolve(post(path, body, connected)) : reject(error)));
    request.end(body);
  });
}
async function connect() {
  const session = new pg.Client();
  await session.connect();
  const ask = async (name, text, value) => (await session.query({ name, text, values: [value] })).rows[0].answer;
  return {
    wait: (after, connected) => { connected(); return ask('wait', `SELECT tide.wait($1::bigint, '60s')::text AS answer`, after); },
    pull: (request) => ask('pull', 'SELECT tide.pull($1::jsonb)::text AS answer', request),
    end: () => session.end(),
  };
}
const overHttp = { wait: (after, connected) => post('wait', after, connected), pull: (request) => post('pull', request), end: async () => {} };

// ---- a round ----

const control = new pg.Client();
await control.connect();
const requestOf = (id, cookie) => `{"client": "${id}", "shapes": {"room": {"room": 1}}, "limit": 1000, "cookie": ${cookie}}`;
const cookieOf = (answer) => answer.slice('{"cookie":'.length, answer.indexOf(',"checkpoint":'));

async function round(servers) {
  await control.query(`SELECT tide.sync('60s')`);
  const { rows: [{ answer, op }] } = await control.query(`SELECT tide.pull('{"shapes": {"room": {"room": 1}}, "limit": 1000}')::text AS answer,
    (SELECT op_id::text FROM tide.status) AS op`);
  const cookie = cookieOf(answer);
  const times = [];
  let start = 0;
  let woken = 0;
  let waited;
  let middle;
  const allWoken = new Promise((resolve) => { waited = resolve; });
  async function client(server, connected) {
    let news;
    do { news = await server.wait(op, connected); } while (BigInt(news) <= BigInt(op));
    woken += 1;
    if (woken === servers.length) {
      const now = performance.now();
      middle = serverCpu();
      start += performance.now() - now; // the clients do not wait for this
      waited();
    }
    await allWoken; // so that waking and pulling can be told apart
    const got = JSON.parse(await server.pull(requestOf(randomUUID(), cookie)));
    if (!got.complete || got.changes.length !== 1 || got.changes[0].key.id !== 1) throw new Error(`not the change: ${JSON.stringify(got).slice(0, 300)}`);
    times.push(performance.now() - start);
  }
  const running = [];
  for (let i = 0; i < servers.length; i += 200) { // a listening socket holds no more at once
    await Promise.all(servers.slice(i, i + 200).map((server) => new Promise((connected, fail) => {
      const one = client(server, connected);
      one.catch(fail);
      running.push(one);
    })));
  }
  const all = Promise.all(running);
  all.catch(() => {});
  await sleep(300 + servers.length / 5); // all of them wait
  const [before, hopBefore] = [serverCpu(), hopCpu()];
  start = performance.now();
  await control.query('UPDATE items SET at = clock_timestamp() WHERE id = 1');
  await all;
  const after = serverCpu();
  times.sort((a, b) => a - b);
  const at = (p) => times[Math.max(0, Math.ceil(p * times.length) - 1)];
  return [servers.length, since(before, after), since(before, middle), hopCpu() - hopBefore, at(0.5), at(0.99), at(1)];
}

const servers = [];
for (let i = 0; i < count; i++) servers.push(way === 'hop' ? overHttp : await connect());
await round(servers); // connections are made, caches filled
for (let i = 0; i < Number(rounds); i++) {
  console.log((await round(servers)).map((n) => Number(n.toFixed(4))).join(' '));
}
await Promise.all(servers.map((server) => server.end()));
await control.end();
agent.destroy();
