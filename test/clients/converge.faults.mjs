// Faults that converge.pl must find, each planted by TIDE_CLIENT_FAULT=name: in the clients' schemas, in the server's
// policies, on the wire.
const replace = (text, from, to) => {
  if (!text.includes(from)) throw new Error(`the fault has no place: ${from}`);
  return text.replaceAll(from, to);
};
const none = { script: (dialect, text) => text, request: (kind, text) => text, answer: (kind, text) => text, plant: async () => {} };

const both = (postgres, sqlite) => ({ script: (dialect, text) => replace(text, ...(dialect === 'postgres' ? postgres : sqlite)) });
const policy = (column, name) => ({ plant: (server) => server(`SELECT tide.set_conflict_policy('docs', '${column}', '${name}')`) });

const known = {
  // what the server has taken is shown no more until a pull brings it
  taken: both(['o.key = t.key AND o.state <> \'cancelled\'', 'o.key = t.key AND o.state = \'pending\''], ['x.key = t.key AND x.state <> \'cancelled\'', 'x.key = t.key AND x.state = \'pending\'']),
  // late answers are applied
  late: both([`(response -> 'cookie' ->> 'n')::bigint > tide.pulls`, 'true'], [`NEW.head ->> '$.cookie.n' > (SELECT coalesce(cookie ->> '$.n', 0) FROM tide_client)`, '1']),
  // what follows a refused write of a row stays
  alone: both([`AND (o.op = 'delete' AND f.undone OR o.op = 'insert' AND`, `AND (false AND`], [`AND (o.op = 'delete' AND f.undone OR o.op = 'insert' AND`, 'AND (0 AND']),
  // a set, a counter, what is to be kept and what a function decides are overwritten
  set: policy('tags', 'overwrite'),
  counter: policy('hits', 'overwrite'),
  keep: policy('kept', 'overwrite'),
  custom: { plant: (server) => server(`CREATE OR REPLACE FUNCTION highest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT new'`) },
  // the client believes that the server has taken one more
  ahead: { answer: (kind, text) => (kind === 'push' ? text.replace(/"last_mutation_id": ?(\d+)/, (all, n) => `"last_mutation_id":${Number(n) + 1}`) : text) },
  // what was written over gets lost on the way
  base: { request: (kind, text) => text.replaceAll(/"hits": ?-?\d+(?=[^{}]*\}, ?"(?!values))/g, '"hits":0') },
};

export function faults(name) {
  if (name === undefined) return none;
  if (!known[name]) throw new Error(`no fault ${name}; there are ${Object.keys(known).join(', ')}`);
  return { ...none, ...known[name] };
}
