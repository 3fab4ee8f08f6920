// What must have become of the mutations that real clients sent. `history` has every change of a row, written by a
// trigger in the same transaction, with the client and mutation it belongs to; each is judged by its column's policy.
import { keyOf, same, tables } from './converge.client.mjs';

const policies = { kept: 'keep', guarded: 'reject', stamp: 'hlc', voice: 'vclock', hits: 'counter', tags: 'set', labels: 'set', best: 'custom' };
const show = (value) => JSON.stringify(value).slice(0, 500);

// One column of one mutation: [what is wrong, if anything]. old, now: its values before and after
function columnProblem(column, { policy, old, now, sent, base, kept, row, mutation, sends }) {
  const wasKept = kept !== undefined;
  const is = (wanted) => (same(now, wanted) ? null : `${column} (${policy}) became ${show(now)}, not ${show(wanted)}`);
  switch (policy) {
    case 'keep':
      if (wasKept) return is(old) ?? (same(old, base) ? `${column} was kept, and nobody had written` : null);
      return is(sent) ?? (same(old, base) || same(old, sent) ? null : `${column} was overwritten: ${show(old)}, base ${show(base)}`);
    case 'reject':
      return is(sent) ?? (same(old, base) || same(old, sent) ? null : `${column} was overwritten: ${show(old)}, base ${show(base)}`);
    case 'counter':
      return is((old ?? 0) + sent - (base ?? 0));
    case 'set': {
      const removed = (base ?? []).filter((e) => !sent.includes(e));
      const added = sent.filter((e) => !(base ?? []).includes(e));
      // what was added more than once may have been added since the client has looked
      const wanted = new Set([...(old ?? []).filter((e) => !removed.includes(e) || (row.adds.get(`${column} ${e}`) > 1 && now.includes(e))), ...added]);
      return same([...(now ?? [])].sort(), [...wanted].sort()) ? null : `${column} (set) became ${show(now)}, not ${show([...wanted])}`;
    }
    case 'custom':
      return is(Math.max(old ?? 0, sent));
    case 'hlc': {
      if (row.isServers) return same(now, sent) || same(now, old) ? null : `${column} became ${show(now)}`;
      const wins = mutation.hlc > (row.clocks.get(column) ?? '');
      if (wins) row.clocks.set(column, mutation.hlc);
      return is(wins ? sent : old);
    }
    case 'vclock': {
      const writer = row.writers.get(column);
      const wins = same(now, sent);
      if (wins) row.writers.set(column, mutation.client);
      if (!wins && !same(now, old)) return `${column} became ${show(now)}`;
      if (same(old, base) || writer === mutation.client) return is(sent);
      if (row.isServers || writer === undefined) return null; // its clock is the time of its commit
      return wins === mutation.client > writer ? null : `${column} (vclock): ${mutation.client} ${wins ? 'won over' : 'lost to'} ${writer}`;
    }
    default:
      return sends ? is(sent) : null;
  }
}

function noteAdds(row, entry) {
  for (const column of ['tags', 'labels']) {
    for (const e of entry.new?.[column] ?? []) {
      if (!(entry.old?.[column] ?? []).includes(e)) row.adds.set(`${column} ${e}`, (row.adds.get(`${column} ${e}`) ?? 0) + 1);
    }
  }
}

function changeProblems(entry, row, mutation, result) {
  const { tbl, old, new: now } = entry;
  if (mutation.table !== tbl) return tbl === 'notes' && now === null ? [] : [`changed ${tbl}`];
  if (keyOf(tbl, now ?? old) !== keyOf(tbl, mutation.key)) return [`changed another row, ${show(now ?? old)}`];
  if (now === null && mutation.op === 'delete' && tbl === 'marks' && !row.isServers) {
    const highest = [...row.clocks.values()].sort().at(-1) ?? '';
    for (const column of ['team', 'v']) row.clocks.set(column, mutation.hlc);
    return mutation.hlc > highest ? [] : [`deleted what ${highest} wrote`];
  }
  if (now === null) return mutation.op === 'delete' ? [] : ['deleted the row'];
  if (mutation.op === 'delete') return ['did not delete the row'];
  const found = [];
  const lost = result.columns ?? {};
  for (const [column, value] of Object.entries(now)) {
    const isKey = tables[tbl].key.includes(column);
    const sends = !isKey && Object.hasOwn(mutation.values, column);
    const before = old?.[column] ?? null;
    if (!sends) {
      if (old && !same(value, before)) found.push(`wrote ${column}, which was not sent`);
      continue;
    }
    const sent = mutation.values[column];
    let policy = tbl === 'marks' ? 'hlc' : (tbl === 'docs' && policies[column]) || 'overwrite';
    if (!old && policy !== 'hlc' && policy !== 'vclock') policy = 'overwrite';
    // clocks of rows deleted meanwhile are another matter
    if (!old && row.wasDeleted) policy = tbl === 'marks' ? 'hlc' : 'overwrite';
    const base = mutation.base?.[column] ?? null;
    const problem = columnProblem(column, { policy, old: before, now: value, sent, base, kept: lost[column], row, mutation, sends });
    if (problem) found.push(problem);
    if (result.status === 'applied' && !same(value, sent)) found.push(`applied, but ${column} is ${show(value)}, not ${show(sent)}`);
    if (lost[column] !== undefined && !same(value, before)) found.push(`${column} is told ${lost[column]}, and was written`);
  }
  return found;
}

// history: rows of the table. sent(client, id): what was sent under the id, without those that change nothing.
// results: Map "client id" → result. now: table → Map of rows
export function lawProblems({ history, sent, results, now }) {
  const problems = [];
  const rows = new Map();
  const effects = new Map();
  for (const entry of history) {
    const name = `${entry.tbl} ${keyOf(entry.tbl, entry.new ?? entry.old)}`;
    if (!rows.has(name)) rows.set(name, { state: entry.old, adds: new Map(), clocks: new Map(), writers: new Map(), isServers: false, wasDeleted: false });
    const row = rows.get(name);
    if (!same(row.state, entry.old)) problems.push(`${name}: was ${show(row.state)}, then ${show(entry.old)}`);
    noteAdds(row, entry);
    if (entry.client === null) {
      row.isServers = true;
      if (!same(entry.old?.voice, entry.new?.voice)) row.writers.set('voice', 'server');
    } else {
      const id = `${entry.client} ${entry.mutation}`;
      effects.set(id, [...(effects.get(id) ?? []), entry]);
      const bodies = sent(entry.client, entry.mutation);
      const result = results.get(id);
      const mutation = bodies[0];
      if (bodies.length !== 1) problems.push(`${name}: changed by ${id}, of which ${bodies.length} were sent`);
      else if (result === undefined || result.status === 'rejected') problems.push(`${name}: changed by ${id}, which was ${show(result ?? 'not answered')}`);
      else if (mutation.op) problems.push(...changeProblems(entry, row, { ...mutation, client: entry.client }, result).map((p) => `${name}: ${show(mutation)} ${p}`));
    }
    row.wasDeleted ||= entry.new === null;
    row.state = entry.new;
  }
  for (const [name, row] of rows) {
    const [table, ...key] = name.split(' ');
    const is = now[table].get(key.join(' ')) ?? null;
    if (!same(row.state, is)) problems.push(`${name} is ${show(is)}, and was left as ${show(row.state)}`);
  }
  for (const [id, result] of results) {
    const [client, number] = id.split(' ');
    const [mutation] = sent(client, Number(number));
    if (!mutation || mutation.call || result.status === 'rejected') continue;
    const own = (effects.get(id) ?? []).filter((e) => e.tbl === mutation.table);
    const writesAnew = mutation.op === 'insert' || Object.values(mutation.values ?? {}).some((v) => typeof v === 'string');
    if (own.length > 1) problems.push(`${id} was done ${own.length} times`);
    if (result.status === 'applied' && writesAnew && own.length === 0) problems.push(`${id} ${show(mutation)} was acknowledged, and is lost`);
    if (result.status === 'conflict' && own.length > 0) problems.push(`${id} was a conflict, and done`);
  }
  return problems;
}

// sums said once more in few words: each counter is what acknowledged writes make of it
export function sumProblems({ history, sent, results, now, accounts, transfers }) {
  const problems = [];
  const sums = new Map();
  const gone = new Set(history.filter((e) => e.tbl === 'docs' && e.new === null).map((e) => e.old.id));
  for (const e of history.filter((x) => x.tbl === 'docs' && x.client === null)) sums.set(e.new?.id, (sums.get(e.new?.id) ?? 0) + (e.new?.hits ?? 0) - (e.old?.hits ?? 0));
  for (const [id, { status }] of results) {
    const [client, number] = id.split(' ');
    const [m] = sent(client, Number(number));
    if (status === 'rejected' || m?.table !== 'docs' || m.values?.hits === undefined) continue;
    sums.set(m.key.id, (sums.get(m.key.id) ?? 0) + m.values.hits - (m.base?.hits ?? 0));
  }
  for (const [, { id, hits }] of now.docs) if (!gone.has(id) && hits !== (sums.get(id) ?? 0)) problems.push(`docs ${id}: ${hits} hits, acknowledged are ${sums.get(id)}`);
  const balances = new Map(accounts.map(({ id }) => [id, 0]));
  const done = new Map();
  for (const { source, target, amount, client, mutation } of transfers) {
    balances.set(source, balances.get(source) - amount);
    balances.set(target, balances.get(target) + amount);
    done.set(`${client} ${mutation}`, (done.get(`${client} ${mutation}`) ?? 0) + 1);
  }
  for (const { id, balance } of accounts) if (balance !== balances.get(id)) problems.push(`account ${id} has ${balance}, not ${balances.get(id)}`);
  for (const [id, { status }] of results) {
    const [client, number] = id.split(' ');
    const [m] = sent(client, Number(number));
    if (!m?.call) continue;
    if ((done.get(id) ?? 0) !== (status === 'applied' ? 1 : 0)) problems.push(`call ${id} was ${status}, and done ${done.get(id) ?? 0} times`);
  }
  return problems;
}

// statuses and codes there may be, groups of one fate
export function answerProblems({ sent, results }) {
  const problems = [];
  const codes = { projects: 'P0002|25P02', docs: 'TD001|P0002|23503|23514|25P02|23502', notes: 'P0002|23503|23514|25P02', marks: 'P0002|25P02' };
  const groups = new Map();
  for (const [id, { status, code }] of results) {
    const [client, number] = id.split(' ');
    const [m] = sent(client, Number(number));
    if (!m) continue;
    const allowed = m.call ? 'P0113|42883|22P02|23514|25P02' : codes[m.table] ?? '42P01|42501|25P02';
    if (!/^(applied|merged|conflict|rejected)$/.test(status)) problems.push(`${id}: ${status}`);
    if (status === 'rejected' && !new RegExp(`^(${allowed})$`).test(code)) problems.push(`${id} ${show(m)} was rejected: ${code}`);
    if (m.tx) groups.set(`${client} ${m.tx}`, (groups.get(`${client} ${m.tx}`) ?? new Set()).add(status === 'rejected'));
  }
  for (const [group, fates] of groups) if (fates.size > 1) problems.push(`group ${group} was taken in part`);
  return problems;
}
