// Numbers and times as people read them.

import { language, t } from './text.js';

/** What writes numbers, by language and digits: making one takes longer than writing a number. */
const writers = new Map();

/** A number as the reader's language has it, with at most so many digits after the point. */
function write(value, digits) {
  const key = `${language} ${digits}`;
  if (!writers.has(key)) {
    const locale = language === 'da' ? 'da-DK' : 'en-GB';
    writers.set(key, new Intl.NumberFormat(locale, { maximumFractionDigits: digits }));
  }
  return writers.get(key).format(value);
}

/** 1234567 as 1,234,567; none as a dash. */
export const number = (value) => (value == null ? '–' : write(value, 3));

/** A rate with as many digits as say something. */
export function rate(value) {
  if (value == null) return '–';
  const digits = value >= 10 || value === 0 ? 0 : value >= 1 ? 1 : 2;
  return write(value, digits);
}

/** 65536 as 64 KiB. */
export function bytes(value) {
  if (value == null) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${write(value, value < 10 && unit ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as µs, ms, s, min, h or days. */
export function duration(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return '–';
  const inUnits = (value, unit) => `${write(value, value < 10 ? 1 : 0)} ${unit}`;
  if (seconds === 0) return inUnits(0, 's');
  if (seconds < 0.001) return inUnits(seconds * 1e6, 'µs');
  if (seconds < 1) return inUnits(seconds * 1e3, 'ms');
  if (seconds < 120) return inUnits(seconds, 's');
  if (seconds < 7200) return inUnits(seconds / 60, 'min');
  if (seconds < 172_800) return inUnits(seconds / 3600, 'h');
  const days = seconds / 86_400;
  if (days < 730) return inUnits(days, t('days'));
  return inUnits(days / 365.25, t('years'));
}

const two = (value) => String(value).padStart(2, '0');

/** +01:00, for a time in the reader's zone. */
function offset(date) {
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '−' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/** A time in the reader's zone, with its offset: 2026-11-26 21:04:16 +01:00. */
export function time(text) {
  if (text == null) return '–';
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  return `${day(date)} ${clock(date)} ${offset(date)}`;
}

export const day = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

export const clock = (date) =>
  `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

/** How far a time is from now: in 5 min, 3 h ago. */
export function distance(text, now = Date.now()) {
  if (text == null) return '–';
  const seconds = (Date.parse(text) - now) / 1000;
  const size = duration(Math.max(1, Math.round(Math.abs(seconds))));
  return seconds >= 0 ? t('in_time', { time: size }) : t('ago', { time: size });
}
