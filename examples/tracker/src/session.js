// Who the user of this browser is, and the token that says so to the server.
import { PLACE } from './keys.js';

const USER = 'tracker.user';
const SESSION = 'tracker.session'; // names what is kept for this user until he signs out
const RENEW = 5 * 60_000;

export const session = () => ({ user: localStorage.getItem(USER), id: localStorage.getItem(SESSION) });

export function signIn(name) {
  localStorage.setItem(SESSION, crypto.randomUUID());
  localStorage.setItem(USER, name);
}

// All tabs load anew, without a user; what the browser has kept of him is removed when a database is opened next.
export async function signOut() {
  // no tab may be about to put his keys back
  await navigator.locks.request(PLACE, () => {
    for (const key of Object.keys(localStorage)) if (key.startsWith('tracker.')) localStorage.removeItem(key);
  });
  location.reload();
}
addEventListener('storage', ({ key }) => { if (key === USER || key === null) location.reload(); });

let held = null;
export const forgetToken = () => { held = null; };
export async function token() {
  if (held === null || Date.now() - held.at > RENEW) {
    const response = await fetch('/login', { method: 'POST', body: session().user, signal: AbortSignal.timeout(20_000) });
    if (!response.ok) throw new Error(`could not sign in: HTTP ${response.status}`);
    held = { text: await response.text(), at: Date.now() };
  }
  return held.text;
}
