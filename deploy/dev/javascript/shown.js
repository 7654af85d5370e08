// What was expected and what was got, in words.
const json = (value, replaced) =>
  JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : replaced(inner))) ?? String(value);

/** A value as text. Whatever it is, that works: it is how somebody learns what went wrong. */
export const printed = (value) => {
  if (typeof value === 'bigint') return `${value}n`;
  try {
    return json(value, (inner) => inner);
  } catch {
    // It contains itself, or what it has cannot be read.
  }
  const seen = new Set();
  try {
    return json(value, (inner) => {
      if (typeof inner !== 'object' || inner === null) return inner;
      if (seen.has(inner)) return '…';
      seen.add(inner);
      return inner;
    });
  } catch {
    return Object.prototype.toString.call(value);
  }
};

const shown = (value) => {
  const kind = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  const text = printed(value);
  return kind === 'undefined' ? kind : `${kind} ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
};

export const fail = (where, expected, value) => {
  throw new TypeError(`${where}: expected ${expected}, got ${shown(value)}`);
};
