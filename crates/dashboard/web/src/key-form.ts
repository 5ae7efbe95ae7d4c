// What a form says about an API key, and the requests that it stands for. Pure.
import { seconds, span } from "./span";
import type { ApiKey } from "./types";

/** The fields as they are written. */
export interface KeyTexts {
  name: string;
  scopes: string[];
  /** Patterns with commas between them; empty for all. */
  queues: string;
  kinds: string;
  /** One entry in a line, because a JSON pointer may contain spaces and commas. */
  hide: string;
  /** `600/1m`; empty for no limit. */
  rate: string;
  description: string;
  /** One of `EXPIRIES`, or `KEEP` for a key that exists. */
  expiry: string;
  /** A day, if `expiry` is `DAY`: `2026-12-31`. */
  day: string;
}

export const KEEP = "keep";
export const DAY = "day";
/** In how many days a key expires. */
export const EXPIRIES = [["", "never"], ["30", "in 30 days"], ["90", "in 90 days"], ["365", "in a year"], [DAY, "at the end of a day (UTC)"]] as const;

const DAY_MS = 86_400_000;

export const NEW_KEY: KeyTexts = { name: "", scopes: ["read"], queues: "", kinds: "", hide: "", rate: "", description: "", expiry: "90", day: "" };

/** A key as its form shows it. */
export const textsOf = (key: ApiKey): KeyTexts => ({
  name: key.name,
  scopes: key.scopes,
  queues: (key.queues ?? []).join(", "),
  kinds: (key.kinds ?? []).join(", "),
  hide: key.hide.join("\n"),
  rate: key.rate ? rateText(key.rate) : "",
  description: key.description ?? "",
  expiry: KEEP,
  day: "",
});

/** A rate as it is written: `600/1m`. */
export const rateText = ({ requests, per_seconds }: NonNullable<ApiKey["rate"]>): string => `${requests}/${span(per_seconds)}`;

/** Reads `600/1m`, `10/s`, and `600`, which is in a minute; `null` if it is no rate. */
export function rateOf(text: string): ApiKey["rate"] {
  const [, count = "", unit] = /^([1-9]\d{0,6})(?: ?\/ ?(.+))?$/.exec(text.trim()) ?? [];
  if (count === "") return null;
  const per_seconds = unit === undefined ? 60 : seconds(/^\d/.test(unit) ? unit : `1${unit}`);
  const requests = Number(count);
  if (per_seconds === null || !Number.isInteger(per_seconds) || per_seconds < 1 || per_seconds > 86_400 || requests > 1_000_000) return null;
  return { requests, per_seconds };
}

const list = (text: string): string[] => text.split(/[,\s]+/).filter(Boolean);
const lines = (text: string): string[] => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** From when on the key is not accepted; `null` for never, `undefined` if the day is none or has ended. */
function expiresAt({ expiry, day }: KeyTexts, now: number): string | null | undefined {
  if (expiry === "") return null;
  const at = expiry === DAY ? (/^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(`${day}T00:00:00Z`) + DAY_MS : NaN) : now + Number(expiry) * DAY_MS;
  return Number.isNaN(at) || at <= now ? undefined : new Date(at).toISOString();
}

/** What is wrong, a sentence each. */
export function mistakes(texts: KeyTexts, now: number): string[] {
  return [
    texts.rate.trim() !== "" && rateOf(texts.rate) === null ? "Write a rate as requests and a duration, such as 600/1m or 10/s: up to 1,000,000 requests in up to 1 day." : "",
    texts.expiry === DAY && texts.day !== "" && expiresAt(texts, now) === undefined ? "Choose a day that has not ended yet." : "",
  ].filter(Boolean);
}

/** Whether something that a key must have is missing. */
export const isIncomplete = (texts: KeyTexts): boolean => texts.name.trim() === "" || texts.scopes.length === 0 || (texts.expiry === DAY && texts.day === "");

type Body = Record<string, unknown>;

/** The fields of a request, with `null` for what is empty. */
const fields = (texts: KeyTexts, now: number): Body => {
  const patterns = (text: string): string[] | null => (list(text).length > 0 ? list(text) : null);
  return {
    name: texts.name.trim(),
    scopes: texts.scopes,
    queues: patterns(texts.queues),
    kinds: patterns(texts.kinds),
    hide: lines(texts.hide).length > 0 ? lines(texts.hide) : null,
    rate: texts.rate.trim() === "" ? null : rateOf(texts.rate),
    description: texts.description.trim() || null,
    expires_at: texts.expiry === KEEP ? undefined : expiresAt(texts, now),
  };
};

/** The body that creates a key. */
export const creation = (texts: KeyTexts, now: number): Body => Object.fromEntries(Object.entries(fields(texts, now)).filter(([, value]) => value !== null && value !== undefined));

const time = (at: unknown): number | null => (typeof at === "string" ? Date.parse(at) : null);

/** The body that changes a key: only what the user changed, so what another user changes meanwhile stays. `null` sets back to the default. */
export function changes(key: ApiKey, texts: KeyTexts, now: number): Body {
  const before = textsOf(key);
  const after = fields(texts, now);
  const same = (name: string): boolean => {
    if (name === "expires_at") return texts.expiry === KEEP || time(after[name]) === time(key.expires_at);
    const [was, is] = [before[name as keyof KeyTexts], texts[name as keyof KeyTexts]];
    if (Array.isArray(was) && Array.isArray(is)) return [...was].sort().join() === [...is].sort().join();
    return String(was).trim() === String(is).trim();
  };
  return Object.fromEntries(Object.entries(after).filter(([name]) => !same(name)));
}

const NAMES: Record<string, string> = { name: "name", scopes: "scopes", queues: "queues", kinds: "kinds", hide: "what is hidden", rate: "rate", description: "note", expires_at: "expiry" };

/** What a change is about, in words: `scopes, rate`. */
export const changedNames = (body: Body): string => Object.keys(body).map((name) => NAMES[name] ?? name).join(", ");
