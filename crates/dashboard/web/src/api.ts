// Requests to the API. The cookie of the session has the key, so no script ever sees it.
import { api, ui } from "./base";
import { read } from "./json";
import type { Session } from "./types";

/** Longest time until an answer. The API answers within 30 s. */
const LIMIT_MS = 40_000;

/** An error response of the API, or no response. */
export class Problem extends Error {
  constructor(
    /** The HTTP status; 0 without a response. */
    readonly status: number,
    /** The last part of the problem type. */
    readonly code: string,
    message: string,
    readonly errors: { pointer?: string; parameter?: string; message: string }[] = [],
    /** `Retry-After`: the server asks to wait for so many seconds. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. A 401 can be that of a proxy, or of a replica that does not know a new key yet; if it is of the key, the page signs out. */
  get isOutage(): boolean {
    return this.status === 0 || this.status === 401 || this.status === 429 || this.status >= 500;
  }
}

let skew = 0;
/** The time by the clock of the server. */
export const now = (): number => Date.now() + skew;

let onSignedOut = (): void => {};
/** Calls this when the key is no longer valid. */
export const whenSignedOut = (listener: () => void): void => void (onSignedOut = listener);

interface Options {
  signal?: AbortSignal;
  /** Numbers stay as they were sent. */
  exact?: boolean;
}

/** `GET /v1/PATH`. */
export const get = <T>(path: string, options?: Options): Promise<T> => send("GET", api + path, undefined, options);
/** Any other request to `/v1/PATH`. A body that is a text is sent as it is. */
export const act = <T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown, options?: Options): Promise<T> =>
  send(method, api + path, body, options);

/** Who the browser is. */
export const session = (): Promise<Session> => send("GET", `${ui}session`);
/** Signs in. */
export const signIn = (key: string): Promise<Session> => send("POST", `${ui}session`, { key });
/** Signs out. */
export const signOut = (): Promise<Session> => send("DELETE", `${ui}session`);

/** Why a stream of `/v1/PATH` is refused, which `EventSource` does not say; `null` if it is not. */
export async function refusal(path: string): Promise<Problem | null> {
  const stopped = new AbortController();
  const timer = setTimeout(() => stopped.abort(), LIMIT_MS);
  try {
    const response = await fetch(api + path, { headers: { Accept: "text/event-stream" }, cache: "no-store", credentials: "same-origin", signal: stopped.signal });
    return response.ok ? null : refused(response, await response.text(), true);
  } catch {
    return unreachable();
  } finally {
    clearTimeout(timer);
    stopped.abort();
  }
}

const unreachable = (): Problem => new Problem(0, "unreachable", "The API cannot be reached.");

async function send<T>(method: string, url: string, body?: unknown, options: Options = {}): Promise<T> {
  const headers: Record<string, string> = { "X-Jobqueue-Dashboard": "1", Accept: "application/json" };
  const limit = AbortSignal.timeout(LIMIT_MS);
  const request: RequestInit = {
    method,
    headers,
    cache: "no-store",
    credentials: "same-origin",
    signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
  };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    request.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, request);
    text = await response.text();
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw unreachable();
  }
  const date = Date.parse(response.headers.get("Date") ?? "");
  // the header has whole seconds, so smaller differences say nothing
  if (!Number.isNaN(date)) skew = Math.abs(date - Date.now()) > 2_000 ? date - Date.now() : 0;
  if (response.ok) return (text === "" ? undefined : options.exact ? read(text) : JSON.parse(text)) as T;
  throw refused(response, text, url.startsWith(api));
}

function refused(response: Response, text: string, byApi: boolean): Problem {
  const seconds = Number(response.headers.get("Retry-After") ?? "");
  const problem = problemOf(response.status, text, seconds > 0 ? seconds : null);
  if (problem.code === "unauthorized" && byApi) onSignedOut();
  return problem;
}

function problemOf(status: number, text: string, retryAfter: number | null): Problem {
  try {
    const { type, title, detail, errors } = JSON.parse(text);
    const fields = (errors ?? []) as Problem["errors"];
    const lines = fields.map((field) => `${field.pointer ?? field.parameter ?? ""} ${field.message}`.trim());
    const message = fields.length > 0 ? `${title}: ${lines.join("; ")}` : `${title}: ${detail}`;
    return new Problem(status, String(type).split(":").pop() ?? "", message, fields, retryAfter);
  } catch {
    return new Problem(status, "unknown", `The server answered ${status}.`, [], retryAfter);
  }
}
