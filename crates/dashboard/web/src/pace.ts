// How close together the newest failures of a group are. Pure.
import { duration, number } from "./format";

/** `the newest 50 within 4 min`; `null` if there are too few to say. `times` are the newest first. */
export function pace(times: string[]): string | null {
  const [newest, oldest] = [times[0], times[times.length - 1]];
  if (newest === undefined || oldest === undefined || times.length < 2) return null;
  return `the newest ${number(times.length)} within ${duration(Math.max(1, Math.round((Date.parse(newest) - Date.parse(oldest)) / 1000)))}`;
}
