// The page's words, in the reader's language.

import en from './texts/en.js';
import da from './texts/da.js';

export const languages = { en: 'English', da: 'Dansk' };
const texts = { en, da };
const KEY = 'mo-router language';

/** A browser may forbid to keep anything: the choice holds until the page is closed then. */
function kept(act) {
  try {
    return act(localStorage);
  } catch {
    return null;
  }
}

const wanted = kept((storage) => storage.getItem(KEY)) ?? navigator.language.slice(0, 2);
export let language = wanted in texts ? wanted : 'en';
document.documentElement.lang = language;

export function speak(other) {
  language = other;
  kept((storage) => storage.setItem(KEY, other));
  document.documentElement.lang = other;
}

/** The text of this name, with `{x}` replaced by `values.x`. */
export function t(name, values = {}) {
  const one = String(values.count) === '1' ? texts[language][`${name}_one`] : undefined;
  const text = one ?? texts[language][name] ?? texts.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? '');
}
