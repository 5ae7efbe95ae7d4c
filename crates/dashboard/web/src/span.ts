// Durations as people write them: `90s`, `12h`, `7d`. Pure.

const UNITS: [string, number][] = [["w", 604_800], ["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]];
const FORM = /^(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)$/;

/** The seconds of `7d` or `1.5 h`; `null` if it is no duration. */
export function seconds(text: string): number | null {
  const [, count, unit] = FORM.exec(text.trim()) ?? [];
  if (!count || !unit) return null;
  const size = UNITS.find(([name]) => name === unit[0])?.[1] ?? 1;
  return Number(count) * size;
}

/** The shortest text that `seconds` reads as this: `7d`. */
export function span(count: number): string {
  const [unit, size] = UNITS.find(([name, size]) => name !== "w" && count >= size && count % size === 0) ?? ["s", 1];
  return `${count / size}${unit}`;
}
