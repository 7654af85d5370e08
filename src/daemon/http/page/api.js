// What the router is asked over HTTP, and the token.

export const session = { possible: false, unlocked: false, who: null, csrf: null };

/** Why the router does not do what it was asked, in its own words. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
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
    value = JSON.parse(text);
  } catch {
    value = { text: text.trim() };
  }
  if (!answer.ok) {
    if (answer.status === 401) Object.assign(session, { unlocked: false, csrf: null });
    throw new Refused(answer.status, value.error ?? value.text ?? answer.statusText);
  }
  return value;
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
  Object.assign(session, await get('/api/session'));
}

export async function unlock(token, who) {
  Object.assign(session, await post('/api/session', { token, who }));
}

export async function lock() {
  Object.assign(session, await ask('DELETE', '/api/session'));
}
