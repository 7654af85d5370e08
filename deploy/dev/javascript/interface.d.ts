// The interface os2mo:router@1.1.0 as JavaScript sees it; wit/router.wit documents it. Headers are
// JavaScript's own values, also in lists and tables: headers.js converts them.

declare module 'os2mo:router/types@1.1.0' {
  export interface Datetime {
    seconds: bigint;
    nanoseconds: number;
  }
  export interface Topic {
    service?: string;
    objectType: string;
    action?: string;
  }
  /** A value of a type of AMQP's, where JavaScript's own would be of another. */
  export type TypedValue =
    | { tag: 'int8' | 'int16' | 'int32' | 'uint8' | 'uint16' | 'uint32' | 'float' | 'double'; val: number }
    | { tag: 'int64' | 'timestamp'; val: bigint }
    | { tag: 'boolean'; val: boolean }
    | { tag: 'text'; val: string }
    | { tag: 'bytes' | 'binary'; val: Uint8Array }
    | { tag: 'decimal'; val: { scale: number; digits: number } };
  /**
   * The value of a header. Whole numbers are AMQP's of 32 bits, or of 64 if they need them, others
   * are doubles; a Uint8Array is a byte array, an object a table.
   */
  export type HeaderValue =
    | null
    | boolean
    | number
    | bigint
    | string
    | Uint8Array
    | TypedValue
    | HeaderValue[]
    | { [name: string]: HeaderValue };
  export interface Event {
    exchange: string;
    routingKey: string;
    topic: Topic;
    uuid: string;
    objectUuid?: string;
    time?: Datetime;
    body: Uint8Array;
    contentType?: string;
    contentEncoding?: string;
    headers: [string, HeaderValue][];
    priority?: number;
    correlationId?: string;
    replyTo?: string;
    expiration?: string;
    messageId?: string;
    timestamp?: bigint;
    type?: string;
    appId?: string;
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
    /** An empty text leaves out a property of the event's. */
    contentType?: string;
    contentEncoding?: string;
    headers?: [string, HeaderValue][];
    /** 0 to 9. */
    priority?: number;
    correlationId?: string;
    replyTo?: string;
    /** Milliseconds: '60000' is a minute. */
    expiration?: string;
    /** Seconds since the Unix epoch. */
    timestamp?: bigint;
    type?: string;
    appId?: string;
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
