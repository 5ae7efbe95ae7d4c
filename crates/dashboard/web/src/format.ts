// Numbers, durations and times in words. Pure.

const whole = new Intl.NumberFormat("en");

/** `1,234`. */
export const number = (value: number): string => whole.format(value);

/** A count that may have stopped at a limit: `10,000+`. */
export const atLeast = (count: number, exact: boolean): string => number(count) + (exact ? "" : "+");

/** `1 job`, `3 jobs`. */
export const several = (count: number, noun: string, exact = true): string =>
  `${atLeast(count, exact)} ${count === 1 && exact ? noun : `${noun}s`}`;

/** A share in percent: `12 %`, `0.3 %`. */
export function percent(share: number): string {
  if (share === 0) return "0 %";
  const value = share * 100;
  return value < 10 ? `${value < 0.1 ? "<0.1" : value.toFixed(1)} %` : `${Math.round(value)} %`;
}

/** A duration with its two largest units: `850 ms`, `4.2 s`, `3 min 5 s`, `2 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds <= 0) return "0 s";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const units: [string, number][] = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[first] ?? ["s", 1];
  const count = Math.floor(seconds / size);
  const next = units[first + 1];
  if (!next || count >= 10) return `${count} ${unit}`;
  const rest = Math.floor((seconds - count * size) / next[1]);
  return rest === 0 ? `${count} ${unit}` : `${count} ${unit} ${rest} ${next[0]}`;
}

/** A rate: `12/s`, `3.5/min`. */
export function rate(count: number, seconds: number): string {
  if (count === 0 || seconds <= 0) return "0/min";
  const each = count / seconds;
  if (each >= 1) return `${each >= 10 ? number(Math.round(each)) : each.toFixed(1)}/s`;
  const minute = each * 60;
  return `${minute >= 10 ? Math.round(minute) : minute.toFixed(1)}/min`;
}

/** Bytes: `1.2 MiB`. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** How long ago, or until when: `4 min ago`, `in 2 h`. */
export function ago(at: number, now: number): string {
  const seconds = (now - at) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${duration(Math.max(1, Math.floor(seconds)))} ago` : `in ${duration(Math.ceil(-seconds))}`;
}

/** The time of day, with the date if it is another day: `10:02`, `Nov 3, 10:02`. */
export function clock(at: number, now: number, seconds = false): string {
  const date = new Date(at);
  const options: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(seconds ? { second: "2-digit" } : {}) };
  if (date.toDateString() !== new Date(now).toDateString()) Object.assign(options, { month: "short", day: "numeric" });
  return new Intl.DateTimeFormat("en", options).format(date);
}

/** The short form of an id: its random end, which differs between jobs of one second. */
export const short = (id: string): string => `…${id.slice(-8)}`;

/** Replaces timestamps in a sentence of the API by the time of day. */
export const withClocks = (text: string, now: number): string =>
  text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (time) => clock(Date.parse(time), now));

/** The entry of a name that the API sent, which a newer API may have and this page may not. */
export const entryOf = <T>(entries: Record<string, T>, name: string, other: T): T => (Object.hasOwn(entries, name) ? (entries[name] as T) : other);
