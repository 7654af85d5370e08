// What the router and the plugin are to each other. Events and answers lie in memory as the
// component model says (the "canonical ABI"): the numbers are offsets in bytes in the records of
// os2mo:router@1.0.0.

export class Header {
  constructor(
    public name: string,
    public value: string,
  ) {}
}

export class Datetime {
  constructor(
    public seconds: i64,
    public nanoseconds: u32 = 0,
  ) {}
}

/** One event of MO, as it arrived. */
export class Event {
  exchange: string;
  routingKey: string;
  service: string | null;
  objectType: string;
  action: string | null;
  uuid: string;
  objectUuid: string | null;
  time: Datetime | null = null;
  body: ArrayBuffer;
  contentType: string | null;
  headers: Header[] = [];
  redelivered: bool;
  attempt: u32;

  constructor(at: usize) {
    this.exchange = readText(at);
    this.routingKey = readText(at + 8);
    this.service = readOption(at + 16);
    this.objectType = readText(at + 28);
    this.action = readOption(at + 36);
    this.uuid = readText(at + 48);
    this.objectUuid = readOption(at + 56);
    if (load<u8>(at + 72)) {
      this.time = new Datetime(load<i64>(at + 80), load<u32>(at + 88));
    }
    this.body = new ArrayBuffer(load<i32>(at + 100));
    memory.copy(changetype<usize>(this.body), load<usize>(at + 96), load<usize>(at + 100));
    this.contentType = readOption(at + 104);
    const headers = load<usize>(at + 116);
    for (let n: u32 = 0; n < load<u32>(at + 120); n++) {
      this.headers.push(new Header(readText(headers + 16 * n), readText(headers + 16 * n + 8)));
    }
    this.redelivered = load<u8>(at + 124) != 0;
    this.attempt = load<u32>(at + 128);
  }
}

/** One message to publish. With nothing set, it is the event itself. */
export class Publication {
  exchange: string | null = null;
  routingKey: string | null = null;
  body: ArrayBuffer | null = null;
  headers: Header[] = [];
  /** When it leaves, or after so many milliseconds; at once if neither is set. */
  at: Datetime | null = null;
  after: u64 = 0;
  key: string | null = null;

  write(to: usize): void {
    writeOption(to, this.exchange);
    writeOption(to + 12, this.routingKey);
    const body = this.body;
    if (body !== null) {
      store<u8>(to + 24, 1);
      writeBytes(to + 28, body);
    }
    const headers = allocate(16 * this.headers.length);
    for (let n = 0; n < this.headers.length; n++) {
      writeText(headers + 16 * n, this.headers[n].name);
      writeText(headers + 16 * n + 8, this.headers[n].value);
    }
    store<usize>(to + 36, headers);
    store<u32>(to + 40, this.headers.length);
    const at = this.at;
    if (at !== null) {
      store<u8>(to + 48, 1);
      store<i64>(to + 56, at.seconds);
      store<u32>(to + 64, at.nanoseconds);
    } else if (this.after > 0) {
      store<u8>(to + 48, 2);
      store<u64>(to + 56, this.after);
    }
    writeOption(to + 72, this.key);
  }
}

/** The size of a publication. */
const PUBLICATION: usize = 88;

/** What becomes of an event. */
export class Answer {
  publications: Publication[] = [];
  /** 0: it may work later; 1: it never will. */
  failure: u8 = 0;
  why: string | null = null;

  write(): usize {
    const to = allocate(16);
    const why = this.why;
    if (why !== null) {
      store<u8>(to, 1);
      store<u8>(to + 4, this.failure);
      writeText(to + 8, why);
      return to;
    }
    const list = allocate(PUBLICATION * this.publications.length);
    for (let n = 0; n < this.publications.length; n++) {
      this.publications[n].write(list + PUBLICATION * n);
    }
    store<usize>(to + 4, list);
    store<u32>(to + 8, this.publications.length);
    return to;
  }
}

/** These messages leave; none drops the event. */
export function publish(publications: Publication[]): Answer {
  const answer = new Answer();
  answer.publications = publications;
  return answer;
}

/** It may work later. */
export function retry(why: string): Answer {
  const answer = new Answer();
  answer.why = why;
  return answer;
}

/** It never will. */
export function reject(why: string): Answer {
  const answer = retry(why);
  answer.failure = 1;
  return answer;
}

export enum Level {
  Trace,
  Debug,
  Info,
  Warn,
  Error,
  Critical,
}

@external('wasi:logging/logging@0.1.0-draft', 'log')
declare function hostLog(level: u32, context: usize, contextLength: usize, message: usize, length: usize): void;

@external('wasi:config/store@0.2.0-rc.1', 'get')
declare function hostSetting(key: usize, length: usize, result: usize): void;

/** Writes to the router's log. */
export function log(level: Level, message: string): void {
  const context = String.UTF8.encode('plugin');
  const text = String.UTF8.encode(message);
  hostLog(level, changetype<usize>(context), context.byteLength, changetype<usize>(text), text.byteLength);
}

/** The setting `[plugin.NAME] config.KEY`, or `otherwise` where it is not set. */
export function setting(key: string, otherwise: string): string {
  const name = String.UTF8.encode(key);
  const found = allocate(16);
  hostSetting(changetype<usize>(name), name.byteLength, found);
  const value = load<u8>(found) == 0 ? readOption(found + 4) : null;
  return value === null ? otherwise : value;
}

/** Where a failed assertion or an exception ends: the log's line goes into the reason. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(Level.Critical, `${message === null ? 'aborted' : message!} at ${file === null ? '?' : file!}:${line}:${column}`);
  unreachable();
}

// What the garbage collector does not know: it is freed after each answer.
let blocks: usize[] = [];

/** Memory that is all zero. */
export function allocate(size: usize): usize {
  const block = heap.alloc(max<usize>(size, 1));
  memory.fill(block, 0, size);
  blocks.push(block);
  return block;
}

/** Frees all that was allocated. */
export function free(): void {
  for (let n = 0; n < blocks.length; n++) {
    heap.free(blocks[n]);
  }
  blocks = [];
}

function readText(at: usize): string {
  return String.UTF8.decodeUnsafe(load<usize>(at), load<usize>(at + 4));
}

function readOption(at: usize): string | null {
  return load<u8>(at) ? readText(at + 4) : null;
}

function writeBytes(to: usize, bytes: ArrayBuffer): void {
  const copy = allocate(bytes.byteLength);
  memory.copy(copy, changetype<usize>(bytes), bytes.byteLength);
  store<usize>(to, copy);
  store<u32>(to + 4, bytes.byteLength);
}

export function writeText(to: usize, text: string): void {
  writeBytes(to, String.UTF8.encode(text));
}

function writeOption(to: usize, text: string | null): void {
  if (text !== null) {
    store<u8>(to, 1);
    writeText(to + 4, text);
  }
}
