// Forwards what happens to employees, and marks what cannot wait.
import { Answer, Event, Header, Level, Publication, log, publish, setting } from './router';

/** The events that the plugin wants. */
export function subscriptions(): string[] {
  return ['employee.#'];
}

/** What to publish for one event. `config.actions` has the actions that are urgent. */
export function route(event: Event): Answer {
  const publication = new Publication();
  const action = event.action;
  if (action !== null && setting('actions', 'terminate').split(' ').includes(action)) {
    publication.headers = [new Header('urgent', 'yes')];
    log(Level.Debug, `urgent: ${event.routingKey}`);
  }
  return publish([publication]);
}
