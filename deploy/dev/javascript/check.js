// Checks what a plugin answers, and fills in what it leaves out. The runtime converts what it
// gets without a word: text in place of bytes becomes an empty body, and -1n milliseconds half a
// billion years.
import { int64, typedValue, uint64, within } from './headers.js';
import { fail } from './shown.js';

const text = (value, where) => (typeof value === 'string' ? value : fail(where, 'a string', value));

const bytes = (value, where) =>
  value instanceof Uint8Array
    ? value
    : fail(where, 'a Uint8Array (of text: new TextEncoder().encode(text))', value);

const list = (item) => (value, where) =>
  Array.isArray(value)
    ? value.map((one, number) => item(one, `${where}[${number}]`))
    : fail(where, 'a list', value);

const header = (value, where) =>
  Array.isArray(value) && value.length === 2 && typeof value[0] === 'string'
    ? value
    : fail(where, 'a pair [name, value]', value);

// A field that can be left out, and what it is then.
const optional = (check, otherwise) => (value, where) =>
  value === undefined || value === null ? otherwise : check(value, where);

const record = (fields) => (value, where) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    fail(where, `an object with ${Object.keys(fields).join(', ')}`, value);
  }
  for (const name of Object.keys(value)) {
    if (!(name in fields)) {
      const camel = name.replace(/[_-](\w)/g, (_, letter) => letter.toUpperCase());
      const advice = camel in fields ? `did you mean ${camel}?` : `it can have ${Object.keys(fields).join(', ')}`;
      throw new TypeError(`${where}.${name}: there is no such field; ${advice}`);
    }
  }
  return Object.fromEntries(Object.entries(fields).map(([name, check]) => [name, check(value[name], `${where}.${name}`)]));
};

const variant = (cases) => (value, where) => {
  const tags = Object.keys(cases).map((tag) => `'${tag}'`);
  if (typeof value !== 'object' || value === null || !Object.hasOwn(cases, value.tag)) {
    fail(where, `{ tag: ${tags.join(' | ')} }`, value);
  }
  const check = cases[value.tag];
  return check ? { tag: value.tag, val: check(value.val, `${where}.val`) } : { tag: value.tag };
};

const datetime = record({ seconds: int64, nanoseconds: optional(within(0, 999_999_999), 0) });

const publication = record({
  exchange: optional(text),
  routingKey: optional(text),
  body: optional(bytes),
  contentType: optional(text),
  contentEncoding: optional(text),
  headers: optional(list(header), []),
  priority: optional(within(0, 255)),
  correlationId: optional(text),
  replyTo: optional(text),
  expiration: optional(text),
  timestamp: optional(uint64),
  type: optional(text),
  appId: optional(text),
  due: optional(variant({ now: null, at: datetime, after: uint64 }), { tag: 'now' }),
  key: optional(text),
});

// With its headers in AMQP's types.
const typedPublication = (value, where) => {
  const checked = publication(value, where);
  const nested = [];
  const typed = ([name, content], number) => [name, typedValue(content, nested, `${where}.headers[${number}][1]`)];
  return { ...checked, headers: checked.headers.map(typed), nested };
};

/** The publications as the runtime needs them; throws a TypeError that names the field. */
export const publications = (value) =>
  value instanceof Promise
    ? fail('publications', 'a list: route cannot be async', 'a Promise')
    : list(typedPublication)(value, 'publications');

/** The patterns as the runtime needs them. */
export const patterns = (value) => list(text)(value, 'subscriptions');

/** Whether something that was thrown is one of the two failures of the interface. */
export const isFailure = (value) =>
  typeof value === 'object' && value !== null && !(value instanceof Error) && (value.tag === 'retry' || value.tag === 'reject');

/** The failure as the runtime needs it. */
export const failure = (value) => variant({ retry: text, reject: text })(value, 'the failure thrown');
