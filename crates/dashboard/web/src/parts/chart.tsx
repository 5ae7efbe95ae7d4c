// Lines over time, as SVG. The numbers are in a table beside it, so a screen reader needs no chart.

interface Line {
  class: string;
  values: (number | null)[];
}

const WIDTH = 300;
const HEIGHT = 60;

/** Lines with one common scale that begins at zero. `label` says what they are. */
export function Chart({ label, lines }: { label: string; lines: Line[] }) {
  const most = Math.max(...lines.flatMap((line) => line.values.map((value) => value ?? 0)), 0);
  const path = ({ values }: Line): string => {
    let text = "";
    let pen = "M";
    values.forEach((value, at) => {
      if (value === null) return void (pen = "M");
      const alone = pen === "M" && (values[at + 1] ?? null) === null;
      const x = values.length > 1 ? (at / (values.length - 1)) * WIDTH : 0;
      const y = HEIGHT - 2 - (most > 0 ? (value / most) * (HEIGHT - 4) : 0);
      // a single value is a short line
      text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}${alone ? (x > WIDTH / 2 ? "h-4" : "h4") : ""}`;
      pen = "L";
    });
    return text;
  };
  return (
    <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {lines.map((line) => <path key={line.class} class={line.class} d={path(line)} vector-effect="non-scaling-stroke" />)}
    </svg>
  );
}
