// What was expected and what was got, in words.
const shown = (value) => {
  const kind = value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value;
  let text;
  try {
    text = typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value) ?? String(value));
  } catch {
    text = String(value);
  }
  return kind === 'undefined' ? kind : `${kind} ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
};

export const fail = (where, expected, value) => {
  throw new TypeError(`${where}: expected ${expected}, got ${shown(value)}`);
};
