// The dialog of confidential fields: the passphrase, and whose devices have the key.
import { make } from './dom.js';

const $ = (selector) => document.querySelector(selector);
const labels = { none: 'locked', waiting: 'no key yet', open: 'unlocked' };
const painted = () => new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); });

function device({ id, user, print, isThis, hasKey, isGiver }, state, act) {
  const action = isGiver ? ['trust', 'Take the key'] : state === 'open' && !hasKey ? ['share', 'Share the key'] : null;
  return make('li', {},
    make('span', {}, make('strong', {}, user), isThis ? ' (this browser)' : '', hasKey ? ' has the key' : ''),
    make('code', {}, print),
    action === null || isThis ? '' : make('button', { className: action[0], onclick: act(action[0], id) }, action[1]));
}

// wake() has the loop send and fetch keys
export function showVault(keys, wake, changed) {
  const dialog = $('#vault');
  let isNew = null; // whether there is no passphrase yet; null: not known

  const problem = (text) => {
    $('#vault-problem').textContent = text;
    $('#vault-problem').hidden = text === '';
  };
  const guard = (call) => async (event) => {
    event?.preventDefault();
    problem('');
    try {
      await call();
    } catch (error) {
      problem(error.message);
    }
  };
  const act = (name, id) => guard(async () => {
    await keys[name](id);
    wake();
  });

  function show() {
    const { state, devices, refusal } = keys.show();
    if (refusal !== undefined) problem(refusal);
    $('#keys').textContent = labels[state];
    $('#keys').dataset.state = state;
    $('#passphrase').hidden = state !== 'none' || isNew === null;
    $('#passphrase p').textContent = isNew
      ? 'Choose a passphrase. It opens confidential fields in your other browsers; nobody can bring it back.'
      : 'Enter your passphrase to open confidential fields in this browser.';
    $('#passphrase input').autocomplete = isNew ? 'new-password' : 'current-password';
    $('#passphrase input').minLength = isNew ? 8 : 0;
    $('#trusting').hidden = state === 'none';
    $('#trusting p').textContent = state === 'open'
      ? 'Compare the digits with those that the other browser shows, then share the key with it.'
      : 'Somebody who has the key must share it with you. Compare the digits with those that the other browser shows.';
    $('#devices').replaceChildren(...devices.map((each) => device(each, state, act)));
    changed(state);
  }

  $('#keys').addEventListener('click', guard(async () => {
    dialog.showModal();
    show();
    if (keys.show().state !== 'none') return;
    isNew = !await keys.hasBackup();
    show();
    $('#passphrase input').focus();
  }));
  $('#passphrase').addEventListener('submit', guard(async () => {
    const { value } = $('#passphrase input');
    const button = $('#passphrase button');
    button.disabled = true;
    await painted(); // for it takes a moment, on purpose
    try {
      await (isNew ? keys.create(value) : keys.recover(value));
      $('#passphrase').reset();
      wake();
    } finally {
      button.disabled = false;
    }
  }));
  keys.onChange(show);
  show();
}
