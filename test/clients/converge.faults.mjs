// Faults that converge.pl must find, each planted by TIDE_CLIENT_FAULT=name: in the clients' schemas, in the server's
// policies, on the wire.
const replace = (text, from, to) => {
  if (!text.includes(from)) throw new Error(`the fault has no place: ${from}`);
  return text.replaceAll(from, to);
};
const none = { script: (dialect, text) => text, request: (kind, text) => text, answer: (kind, text) => text, plant: async () => {} };

const known = {};

export function faults(name) {
  if (name === undefined) return none;
  if (!known[name]) throw new Error(`no fault ${name}; there are ${Object.keys(known).join(', ')}`);
  return { ...none, ...known[name] };
}
