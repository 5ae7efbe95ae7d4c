// When a request is sent again. Pure.

/** After the first failure. */
const FIRST_MS = 3_000;
/** Without a wish of the server the wait grows up to this. */
const MOST_MS = 20_000;
/** A server may ask for more, but a page that waits for longer looks dead. */
const MOST_ASKED_MS = 300_000;

/** The wait after so many failures in a row (1 is the first), never shorter than the server asked for. Pages that failed together spread out. */
export function waitMs(failures: number, retryAfter: number | null, random: number = Math.random()): number {
  const own = Math.min(MOST_MS, FIRST_MS * 2 ** (failures - 1));
  const asked = Math.min(MOST_ASKED_MS, (retryAfter ?? 0) * 1_000);
  return Math.round(Math.max(own, asked) * (1 + random * 0.25));
}

/** About so long: pages that were opened together do not ask together for long. */
export const spreadMs = (ms: number, random: number = Math.random()): number => Math.round(ms * (0.9 + random * 0.2));
