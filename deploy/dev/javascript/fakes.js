// What the router provides to a plugin, for unit tests: build.mjs puts it in the place of
// `wasi:config/store` and `wasi:logging/logging`.
import './sandbox.js';

/** The plugin's settings, `[plugin.NAME] config.*`. */
export const settings = {};

/** What the plugin has logged: `{ level, context, message }`. */
export const logged = [];

/** Forgets all settings and what was logged. */
export const reset = () => {
  for (const key of Object.keys(settings)) delete settings[key];
  logged.length = 0;
};

export const get = (key) => settings[key];
export const getAll = () => Object.entries(settings);
export const log = (level, context, message) => {
  logged.push({ level, context, message });
};
