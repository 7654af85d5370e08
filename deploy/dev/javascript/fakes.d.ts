/** The plugin's settings, `[plugin.NAME] config.*`. */
export const settings: Record<string, string>;
/** What the plugin has logged. */
export const logged: { level: string; context: string; message: string }[];
/** Forgets all settings and what was logged. */
export function reset(): void;
