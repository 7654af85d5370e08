// Headers, between the interface's types and JavaScript's. The interface has what is in a list or
// a table beside the headers, in `nested`: WIT has no types that contain themselves.
import { fail } from './shown.js';

const plainValue = ({ tag, val }, nested) => {
  switch (tag) {
    case 'null':
      return null;
    case 'list':
      return Array.from(val, (place) => plainValue(nested[place], nested));
    case 'table':
      return Object.fromEntries(val.map(([name, place]) => [name, plainValue(nested[place], nested)]));
    case 'int64':
      return Number.isSafeInteger(Number(val)) ? Number(val) : val;
    case 'timestamp':
    case 'decimal':
      return { tag, val }; // JavaScript has nothing of the kind
    default:
      return val;
  }
};

/** The event with its headers as JavaScript's values. */
export const plainHeaders = (event) => {
  if (event.headers.length > 0) {
    event.headers = event.headers.map(([name, value]) => [name, plainValue(value, event.nested)]);
  }
  return event;
};

const isInt32 = (number) => Number.isInteger(number) && number === (number | 0);

const number = (value) => {
  if (isInt32(value)) return { tag: 'int32', val: value };
  return Number.isSafeInteger(value) ? { tag: 'int64', val: BigInt(value) } : { tag: 'double', val: value };
};

export const within = (least, most) => (value, where) =>
  Number.isInteger(value) && value >= least && value <= most ? value : fail(where, `a number from ${least} to ${most}`, value);

const bigWithin = (least, most) => (value, where) =>
  typeof value === 'bigint' && value >= least && value <= most
    ? value
    : fail(where, `a BigInt from ${least}n to ${most}n`, value);

const float = (value, where) => (typeof value === 'number' ? value : fail(where, 'a number', value));

const bytes = (value, where) => (value instanceof Uint8Array ? value : fail(where, 'a Uint8Array', value));

export const int64 = bigWithin(-(2n ** 63n), 2n ** 63n - 1n);
export const uint64 = bigWithin(0n, 2n ** 64n - 1n);

// The types by their names: `{ tag: 'int8', val: 5 }`.
const types = {
  boolean: (value, where) => (typeof value === 'boolean' ? value : fail(where, 'a boolean', value)),
  text: (value, where) => (typeof value === 'string' ? value : fail(where, 'a string', value)),
  int8: within(-128, 127),
  int16: within(-32_768, 32_767),
  int32: within(-2_147_483_648, 2_147_483_647),
  int64,
  uint8: within(0, 255),
  uint16: within(0, 65_535),
  uint32: within(0, 4_294_967_295),
  float,
  double: float,
  timestamp: uint64,
  bytes,
  binary: bytes,
  decimal: (value, where) => ({
    scale: within(0, 255)(value?.scale, `${where}.scale`),
    digits: within(0, 4_294_967_295)(value?.digits, `${where}.digits`),
  }),
};

/** A header's value in AMQP's types; what is in a list or a table goes into `nested`. */
export const typedValue = (value, nested, where) => {
  const put = (inner, at) => {
    const typed = typedValue(inner, nested, at);
    return nested.push(typed) - 1;
  };
  switch (typeof value) {
    case 'string':
      return { tag: 'text', val: value };
    case 'boolean':
      return { tag: 'boolean', val: value };
    case 'number':
      return number(value);
    case 'bigint':
      return { tag: 'int64', val: int64(value, where) };
    case 'object':
      break;
    default:
      fail(where, 'null, a boolean, number, BigInt, string, Uint8Array, list or object', value);
  }
  if (value === null) return { tag: 'null' };
  if (value instanceof Uint8Array) return { tag: 'binary', val: value };
  if (Array.isArray(value)) {
    return { tag: 'list', val: Uint32Array.from(value, (inner, place) => put(inner, `${where}[${place}]`)) };
  }
  if (Object.hasOwn(types, value.tag) && 'val' in value) {
    return { tag: value.tag, val: types[value.tag](value.val, `${where}.val`) };
  }
  return { tag: 'table', val: Object.entries(value).map(([name, inner]) => [name, put(inner, `${where}.${name}`)]) };
};
