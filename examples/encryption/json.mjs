// JSON whose numbers stay the text they are, and its canonical form: what is signed and bound to
// ciphertext. Numbers of 64 bits and long decimals do not survive JSON.parse().
import { LosslessNumber, isLosslessNumber, parse, stringify } from 'lossless-json';

export { parse, stringify };

// exact decimal without exponent, leading or trailing zeros
function canonicalNumber(text) {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (!match) throw new TypeError('not a JSON number');
  const [, sign, whole, fraction = '', exponent = '0'] = match;
  const shift = Number(exponent);
  if (Math.abs(shift) > 1000) throw new RangeError('number is out of range');
  let digits = whole + fraction;
  let point = whole.length + shift;
  if (point < 0) [digits, point] = ['0'.repeat(-point) + digits, 0];
  digits = digits.padEnd(point, '0');
  const left = digits.slice(0, point).replace(/^0+/, '') || '0';
  const right = digits.slice(point).replace(/0+$/, '');
  const result = right ? `${left}.${right}` : left;
  return result === '0' ? '0' : sign + result;
}

// by code points, which is the order of UTF-8's bytes
function compareNames(a, b) {
  const [x, y] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < x.length && i < y.length; i++) {
    const difference = x[i].codePointAt(0) - y[i].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}

export function canonical(value) {
  if (isLosslessNumber(value)) return canonicalNumber(value.value);
  if (typeof value === 'number') return canonicalNumber(String(value));
  if (typeof value === 'bigint') return String(value);
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`no JSON: ${typeof value}`);
  return `{${Object.keys(value).sort(compareNames).map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

export const whole = (value) => Number(isLosslessNumber(value) ? value.value : value);
export const number = (value) => new LosslessNumber(String(value));
