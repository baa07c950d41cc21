/**
 * What tsrun logs, and how a line of it looks. Library code calls `debug` and `warn`, which go nowhere until a sink
 * is set; only the CLI sets one. The formats are those of logrus, which containerd, podman and CRI-O parse:
 * podman reads the whole log file as one JSON object, so a failure leaves exactly one line.
 */

export type Level = "debug" | "info" | "warning" | "error";
export type LogFormat = "text" | "json";
export interface LogSink {
  write(level: Level, message: string): void;
  /** Writes what was held back until the operation was known to succeed. */
  flush(): void;
}

let sink: LogSink | undefined;
let debugging = false;

/** Where lines go from now on; undefined: nowhere. `withDebug` lets lines of level debug through. */
export function setLogSink(next: LogSink | undefined, withDebug = false): void {
  sink = next;
  debugging = next !== undefined && withDebug;
}

/** Is anybody listening? Ask before building an expensive message. */
export function isDebugging(): boolean {
  return debugging;
}

export function debug(message: string): void {
  if (debugging) sink?.write("debug", message);
}

/** Something the reader should know though the operation goes on. */
export function warn(message: string): void {
  sink?.write("warning", message);
}

/** The operation has succeeded, or this program is about to be replaced: hold nothing back. */
export function flushLog(): void {
  sink?.flush();
}

/** One line without its newline. `time` is RFC 3339 in UTC, to the second. */
export function formatLine(format: LogFormat, level: Level, message: string, time: string): string {
  const msg = escapeControl(message);
  return format === "json"
    ? JSON.stringify({ level, msg, time })
    : `time=${JSON.stringify(time)} level=${level} msg=${quoteText(msg)}`;
}

/** Now, as `formatLine` wants it. */
export function logTime(now: Date = new Date()): string {
  return `${now.toISOString().slice(0, 19)}Z`;
}

/** logrus leaves a value bare when it has no character that could confuse a reader of key=value pairs. */
function quoteText(text: string): string {
  return /^[A-Za-z0-9._/@^+-]+$/.test(text) ? text : JSON.stringify(text);
}

/** A value as JSON that a terminal may show: what escapeControl escapes is written as JSON has it, and reads as before. */
export function jsonText(value: unknown, indent?: number | string): string {
  return JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Makes control characters visible, so that a name which a container chose cannot forge a line or drive a terminal:
 * C0, DEL and C1, the line separators of Unicode, and the marks that turn the direction of text.
 */
export function escapeControl(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (char) => {
    if (char === "\n") return "\\n";
    if (char === "\r") return "\\r";
    if (char === "\t") return "\\t";
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
