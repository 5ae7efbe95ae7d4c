// JSON whose numbers are shown as they were sent. A JavaScript number would round 64-bit integers and drop zeros of decimals.
import { isLosslessNumber, LosslessNumber, parse, stringify } from "lossless-json";

/** A JSON value. A number that JavaScript cannot write in the same way is a `LosslessNumber`. */
export type Exact = null | boolean | string | number | LosslessNumber | Exact[] | { [key: string]: Exact };

/** Reads JSON. */
export const read = (text: string): Exact =>
  parse(text, null, (digits) => (String(Number(digits)) === digits ? Number(digits) : new LosslessNumber(digits))) as Exact;

/** Writes JSON, indented by two spaces unless another text is given. */
export const write = (value: Exact, indent: string | number = 2): string => stringify(value, null, indent) ?? "null";

/** Whether a value is a number. */
export const isNumber = (value: Exact): value is number | LosslessNumber =>
  typeof value === "number" || isLosslessNumber(value);

/** Whether a text is JSON; otherwise why not. */
export function problemOf(text: string): string | null {
  try {
    read(text);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

type Members = { [key: string]: Exact };
const isObject = (value: Exact): value is Members =>
  value !== null && typeof value === "object" && !Array.isArray(value) && !isNumber(value);

/** A JSON merge patch (RFC 7396) that makes `next` of `old`; `undefined` if none does, because such a patch cannot set a member to null. */
export function mergePatch(old: Exact, next: Exact): Exact | undefined {
  if (!isObject(next)) return next;
  const before: Members = isObject(old) ? old : {};
  // members may have the names of a prototype, such as `constructor`
  const patch: [string, Exact][] = Object.keys(before).filter((key) => !Object.hasOwn(next, key)).map((key) => [key, null]);
  for (const [key, value] of Object.entries(next)) {
    const known = Object.hasOwn(before, key) ? before[key] : undefined;
    if (known !== undefined && write(known, "") === write(value, "")) continue;
    const inner = value === null ? undefined : mergePatch(known ?? null, value);
    if (inner === undefined) return undefined;
    patch.push([key, inner]);
  }
  return Object.fromEntries(patch);
}
