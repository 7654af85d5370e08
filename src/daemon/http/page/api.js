// What the router is asked over HTTP, and the token.

import { parse } from './exact.js';

/** Who may change something. `known` is whether the router has said so since it started. */
export const session = { known: false, possible: false, unlocked: false, who: null, csrf: null };

/** Why the router does not do what it was asked, in its own words. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const options = { method, headers: {} };
  const said = session.csrf;
  if (method !== 'GET' && session.csrf) options.headers['x-mo-router-csrf'] = session.csrf;
  if (body instanceof Blob) {
    options.body = body;
    options.headers['content-type'] = 'application/octet-stream';
  } else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers['content-type'] = 'application/json';
  }
  const answer = await fetch(path, options);
  const text = await answer.text();
  let value;
  try {
    value = parse(text);
  } catch {
    value = { text: text.trim() };
  }
  if (!answer.ok) {
    if (answer.status === 403 && said && await isRenewed(said)) return ask(method, path, body);
    if (answer.status === 401) Object.assign(session, { unlocked: false, csrf: null });
    throw new Refused(answer.status, value.error ?? value.text ?? answer.statusText);
  }
  return value;
}

/** Whether the session is another one than that which said this: changes were unlocked in another tab, and
    the browser has one cookie for all of them. */
async function isRenewed(said) {
  await loadSession();
  return session.unlocked && session.csrf !== said;
}

export const get = (path, query) => ask('GET', path + search(query));
export const post = (path, body) => ask('POST', path, body);

/** `?a=1&b=2` of what is given. */
export function search(query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value != null);
  const text = new URLSearchParams(given).toString();
  return text && `?${text}`;
}

export async function loadSession() {
  Object.assign(session, await get('/api/session'), { known: true });
}

export async function unlock(token, who) {
  Object.assign(session, await post('/api/session', { token, who }));
}

export async function lock() {
  Object.assign(session, await ask('DELETE', '/api/session'));
}
