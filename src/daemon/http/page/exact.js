// JSON as it was sent: numbers that JavaScript cannot hold stay as they are written.

const digits = (number) => number.replace(/^-/, '').replace(/[eE].*$/, '').replace('.', '').replace(/^0+|0+$/g, '');

/** Reads JSON. A number that would become another one is kept as its text, for `JSON.stringify` alone:
    where the browser can (`JSON.rawJSON`), otherwise it is rounded. */
export const parse = (text) => JSON.parse(text, (_, value, context) =>
  (typeof value === 'number' && context?.source && JSON.rawJSON && digits(context.source) !== digits(String(value))
    ? JSON.rawJSON(context.source) : value));

/** A string, a sign, or what is neither. */
const TOKENS = /"(?:[^"\\]+|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;
/** How deep lines are indented at most: 64 KiB of brackets would otherwise be gigabytes of spaces. */
const DEEPEST = 50;

/** JSON with a line for each value, without reading it: numbers and keys stay as they are, even a key that is
    there twice. Strings are readable: `\u00e6` is æ.

    Throws a `SyntaxError` if it is no JSON. */
export function indented(text) {
  JSON.parse(text);
  const tokens = text.match(TOKENS);
  const line = (depth) => `\n${'  '.repeat(Math.min(depth, DEEPEST))}`;
  const parts = [];
  let depth = 0;
  tokens.forEach((token, at) => {
    const isEmpty = '}]'.includes(tokens[at + 1]) && '{['.includes(token);
    if (token === '{' || token === '[') {
      depth += 1;
      parts.push(token, isEmpty ? '' : line(depth));
    } else if (token === '}' || token === ']') {
      depth -= 1;
      parts.push('{['.includes(tokens[at - 1]) ? '' : line(depth), token);
    } else if (token === ',') {
      parts.push(token, line(depth));
    } else if (token === ':') {
      parts.push(': ');
    } else {
      parts.push(token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token);
    }
  });
  return parts.join('');
}
