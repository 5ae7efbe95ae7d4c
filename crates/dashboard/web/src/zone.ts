// Time zones of schedules: local times, and when clocks change. Pure; the data of the zones is that of the browser.

/** The zone of the browser. */
export const browserZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const DAY_MS = 86_400_000;

function fields(at: number, zone: string): Record<string, number> {
  const format = new Intl.DateTimeFormat("en", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
  });
  return Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
}

/** Minutes by which the clocks of a zone are ahead of UTC; `null` if the browser does not know the zone. */
export function offset(at: number, zone: string): number | null {
  try {
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields(at, zone);
    return Math.round((Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(at / 1000) * 1000) / 60_000);
  } catch {
    return null;
  }
}

export interface Change {
  /** The first time with the new clocks. */
  at: number;
  /** Minutes by which the clocks are set; negative: back. */
  minutes: number;
}

/** The next time, within a year, at which clocks of a zone are set. */
export function nextChange(zone: string, from: number): Change | null {
  let before = from;
  const now = offset(from, zone);
  if (now === null) return null;
  for (let day = 1; day <= 366; day += 1) {
    const after = from + day * DAY_MS;
    if (offset(after, zone) === offset(before, zone)) {
      before = after;
      continue;
    }
    return { at: firstWith(offset(after, zone), zone, before, after), minutes: (offset(after, zone) ?? 0) - (offset(before, zone) ?? 0) };
  }
  return null;
}

/** The first minute between two times in which the clocks are as in the later one. */
function firstWith(wanted: number | null, zone: string, before: number, after: number): number {
  let [low, high] = [before, after];
  while (high - low > 60_000) {
    const middle = low + Math.floor((high - low) / 2);
    if (offset(middle, zone) === wanted) high = middle;
    else low = middle;
  }
  return Math.floor(high / 60_000) * 60_000;
}

/** A time in a zone: `Mon, 30 Nov 2026, 02:00`, with seconds if they are not 0. */
export function local(at: number, zone: string): string {
  const options: Intl.DateTimeFormatOptions = {
    weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
    ...(at % 60_000 === 0 ? {} : { second: "2-digit" }),
  };
  try {
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone }).format(at);
  } catch {
    return new Date(at).toISOString();
  }
}

/** What happens to a schedule when clocks are set. */
export function changeInWords(zone: string, change: Change, dst: string): string {
  const by = Math.abs(change.minutes) % 60 === 0 ? `${Math.abs(change.minutes) / 60} h` : `${Math.abs(change.minutes)} min`;
  const forward = change.minutes > 0;
  const what = `Clocks in ${zone} go ${forward ? "forward" : "back"} by ${by} at ${local(change.at, zone)}.`;
  if (forward) return `${what} ${dst === "skip" ? "A local time that does not exist then has no tick" : "A local time that does not exist then is shifted forward"} (\`dst: ${dst}\`).`;
  return `${what} A local time that exists twice then has ${dst === "both" ? "two ticks" : "one tick, the first"} (\`dst: ${dst}\`).`;
}
