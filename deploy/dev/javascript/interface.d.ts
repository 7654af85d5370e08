// The interface os2mo:router@1.0.0 as JavaScript sees it; wit/router.wit documents it.

declare module 'os2mo:router/types@1.0.0' {
  export interface Datetime {
    seconds: bigint;
    nanoseconds: number;
  }
  export interface Topic {
    service?: string;
    objectType: string;
    action?: string;
  }
  export interface Event {
    exchange: string;
    routingKey: string;
    topic: Topic;
    uuid: string;
    objectUuid?: string;
    time?: Datetime;
    body: Uint8Array;
    contentType?: string;
    headers: [string, string][];
    redelivered: boolean;
    attempt: number;
  }
  export type Due =
    | { tag: 'now' }
    | { tag: 'at'; val: { seconds: bigint; nanoseconds?: number } }
    | { tag: 'after'; val: bigint };
  /** One message to publish. `{}` is the event itself, unchanged and at once. */
  export interface Publication {
    exchange?: string;
    routingKey?: string;
    body?: Uint8Array;
    headers?: [string, string][];
    due?: Due;
    key?: string;
  }
  /** To be thrown. */
  export type Failure = { tag: 'retry'; val: string } | { tag: 'reject'; val: string };
  export interface Filter {
    subscriptions(): string[];
    route(event: Event): Publication[];
  }
}

declare module 'wasi:config/store@0.2.0-rc.1' {
  /** One value of `[plugin.NAME] config.*`; undefined if the key is not set. */
  export function get(key: string): string | undefined;
  export function getAll(): [string, string][];
}

declare module 'wasi:logging/logging@0.1.0-draft' {
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'critical';
  export function log(level: Level, context: string, message: string): void;
}
