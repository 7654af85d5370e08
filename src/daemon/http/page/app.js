// The page: which view is shown, what all views have around them, and the live connection.

import { html, nothing, render } from './html.js';
import { get, loadSession, lock, session, unlock } from './api.js';
import { drawWith, hear, redraw, redrawLater, state } from './state.js';
import { begin, reconnect } from './stream.js';
import { number } from './format.js';
import { dialog, notice } from './ui.js';
import { language, languages, speak, t } from './text.js';
import * as overview from './views/overview.js';
import * as plugins from './views/plugins.js';
import * as delayed from './views/delayed.js';
import * as dead from './views/dead.js';
import * as tail from './views/tail.js';
import * as trial from './views/trial.js';

const views = { overview, plugins, dead, delayed, tail, trial };
const HASH = document.getElementById('app').dataset.hash;
/** How long the router may say nothing before the page says so, in milliseconds. */
const SILENCE = 5000;
const HISTORY = 10_000;
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

let current = 'overview';
let heardAt = Date.now();
/** When it was listened to anew, because nothing was heard. */
let triedAt = 0;

/** `#/dead/0123?x=1`: the view, what it is about, and what else. */
function route() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = path.split('/');
  return {
    name: Object.hasOwn(views, name) ? name : 'overview',
    about: rest.length ? decoded(rest.join('/')) : null,
    query: Object.fromEntries(new URLSearchParams(query)),
  };
}

// An address may have been typed.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go() {
  const { name, about, query } = route();
  if (name !== current) {
    views[current].leave?.();
    window.scrollTo(0, 0);
  }
  current = name;
  views[name].enter?.(about, query);
  document.title = `${t(`view_${name}`)} · mo-router`;
  redraw();
}

function listen() {
  const heard = (router) => {
    heardAt = Date.now();
    const isOther = state.router !== null && router.since !== state.router.since;
    const isBack = isOther || (state.router !== null && !state.connected);
    hear(router);
    // A router that has restarted knows nobody.
    if (isOther) session.known = false;
    if (!session.known) learnSession();
    // What a view asked for meanwhile, it did not get.
    if (isBack) views[current].again?.();
  };
  begin(heard, () => {
    state.connected = false;
    redraw();
  });
}

let isLearning = false;

async function learnSession() {
  if (isLearning) return;
  isLearning = true;
  try {
    await loadSession();
    redraw();
  } catch {
    // It is asked again when the router says something.
  } finally {
    isLearning = false;
  }
}

async function loadHistory() {
  if (document.hidden) return;
  try {
    state.samples = await get('/api/history');
    redrawLater();
  } catch {
    // The live connection says what is wrong.
  }
}

function askForToken() {
  let failure = null;
  let busy = false;
  dialog(t('unlock'), (close, draw) => {
    const submit = async (event) => {
      event.preventDefault();
      const form = new FormData(event.target);
      busy = true;
      draw();
      try {
        await unlock(form.get('token'), form.get('who'));
        close(true);
        redraw();
      } catch (error) {
        [failure, busy] = [error.message, false];
        draw();
      }
    };
    return html`
      <form @submit=${submit}>
        <h2 id="dialog-title">${t('unlock')}</h2>
        <p>${t('unlock_why')}</p>
        <label>${t('token')}<input name="token" type="password" autocomplete="off" required></label>
        <label>${t('who')}<input name="who" autocomplete="name" maxlength="60" required></label>
        ${notice('bad', failure)}
        <div class="actions">
          <button type="button" @click=${() => close(false)}>${t('cancel')}</button>
          <button type="submit" class="strong" ?disabled=${busy}>${t('unlock')}</button>
        </div>
      </form>`;
  });
}

async function forgetToken() {
  await lock();
  redraw();
}

const lockButton = () => {
  if (session.unlocked) {
    return html`<button type="button" class="lock open" @click=${forgetToken}
      title=${t('lock_why', { who: session.who })}>${t('lock')}</button>`;
  }
  return session.possible
    ? html`<button type="button" class="lock" @click=${askForToken}>${t('unlock')}</button>`
    : nothing;
};

function choose(event) {
  speak(event.target.value);
  go();
}

const banner = () => {
  if (state.router && !state.connected) return notice('bad', t('disconnected'));
  if (state.router && state.router.page !== HASH) {
    return html`<p class="notice warn" role="status">${t('other_version')}
      <button type="button" @click=${() => location.reload()}>${t('reload')}</button></p>`;
  }
  return nothing;
};

/** What a link shows beside its name: how many there are. */
const count = (name) => {
  const { router } = state;
  if (name === 'dead' && router?.dead_letters) return html` <span class="count bad">${number(router.dead_letters)}</span>`;
  return nothing;
};

const page = () => html`
  <a class="skip" href="#main" @click=${(event) => { event.preventDefault(); document.getElementById('main').focus(); }}>${t('skip')}</a>
  <header class="top">
    <a class="name" href="#/overview"><img src="/page/${HASH}/icon.svg" alt="" width="26" height="26">mo-router</a>
    <nav aria-label=${t('views')}>
      ${Object.keys(views).map((name) => html`
        <a href="#/${name}" aria-current=${name === current ? 'page' : 'false'}>${t(`view_${name}`)}${count(name)}</a>`)}
    </nav>
    <div class="tools">
      ${lockButton()}
      <label class="unseen" for="language">${t('language')}</label>
      <select id="language" @change=${choose}>
        ${Object.entries(languages).map(([code, name]) => html`
          <option value=${code} ?selected=${code === language}>${name}</option>`)}
      </select>
    </div>
  </header>
  ${banner()}
  <main id="main" tabindex="-1">
    ${state.router ? views[current].view() : html`<p class="empty">${state.connected ? '' : t('connecting')}</p>`}
  </main>
  <footer>
    ${state.router ? html`mo-router ${state.router.version} · ${t('zone')} ${ZONE}` : nothing}
  </footer>`;

const root = document.createElement('div');
root.id = 'page';
document.body.append(root);
let shown = null;
drawWith(() => {
  render(page(), root);
  // Where the window is narrow, the views' names scroll.
  if (shown !== current) root.querySelector('[aria-current=page]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  shown = current;
});

window.addEventListener('hashchange', go);
document.addEventListener('visibilitychange', () => {
  heardAt = Date.now();
});
setInterval(() => {
  const now = Date.now();
  if (document.hidden || now - heardAt <= SILENCE) return;
  if (state.connected) {
    state.connected = false;
    redraw();
  }
  if (now - triedAt > SILENCE) {
    triedAt = now;
    reconnect();
  }
}, 1000);
setInterval(loadHistory, HISTORY);
learnSession();
go();
listen();
loadHistory();
