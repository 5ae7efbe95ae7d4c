// The log and the progress of a job, while it runs and after it.
import { useEffect, useRef, useState } from "preact/hooks";
import { write, type Exact } from "../../json";
import { Card, Failed } from "../../parts/basics";
import type { Attempt } from "../../types";
import type { JobStream } from "./stream";

const BADGES = { live: "live", paused: "paused", lost: "paused" } as const;

export function Log({ stream, attempts }: { stream: JobStream; attempts: Attempt[] }) {
  const box = useRef<HTMLPreElement>(null);
  const [follow, setFollow] = useState(true);
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [stream.lines.length, stream.dropped, follow]);
  const last = attempts[attempts.length - 1];
  const progress = stream.progress?.value ?? last?.progress ?? null;
  const scrolled = (): void => {
    const element = box.current;
    if (element) setFollow(element.scrollTop + element.clientHeight >= element.scrollHeight - 8);
  };
  let attempt: number | null = null;
  return (
    <Card title="Log and progress" side={stream.ended ? null : <span class={`badge ${BADGES[stream.connection]}`}>{stream.connection === "lost" ? "not live" : stream.connection}</span>}>
      {stream.problem && !stream.ended ? <Failed problem={{ message: stream.problem, isOutage: false }} retry={stream.again} again={false} /> : null}
      {progress !== null ? <Progress value={progress} /> : null}
      {stream.lines.length === 0 ? <p class="quiet pad">No log lines. The last 16 KiB of what a handler logs in an attempt are kept.</p> : (
        <pre class="log" ref={box} tabIndex={0} aria-label="Log" onScroll={scrolled}>
          {stream.dropped > 0 ? <span class="quiet">{stream.dropped} earlier lines are not shown{"\n"}</span> : null}
          {stream.lines.map((line, at) => {
            const begins = line.attempt !== attempt;
            attempt = line.attempt;
            return (
              <span key={at + stream.dropped}>
                {begins && line.attempt !== null ? <span class="mark">{`--- attempt ${line.attempt}\n`}</span> : null}
                {line.skipped > 0 ? <span class="quiet">{`${line.skipped} bytes were dropped\n`}</span> : null}
                {line.line}{"\n"}
              </span>
            );
          })}
        </pre>
      )}
      {!follow && !stream.ended ? <button type="button" onClick={() => setFollow(true)}>Follow the end</button> : null}
    </Card>
  );
}

/** A bar if the value has a percentage or a share, otherwise the value. */
function Progress({ value }: { value: Exact }) {
  const percent = percentOf(value);
  const text = value !== null && typeof value === "object" && !Array.isArray(value) && "message" in value ? String(value.message) : write(value, "");
  if (percent === null) return <p class="pad">Progress: <code>{text}</code></p>;
  return <p class="progress pad"><progress max={100} value={percent} aria-label="Progress of the job" /> {Math.round(percent)} % <span class="quiet">{text}</span></p>;
}

function percentOf(value: Exact): number | null {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  const entry = value as Record<string, Exact>;
  if ("percent" in entry && entry.percent !== null) return bounded(Number(entry.percent));
  if ("current" in entry && "total" in entry) return bounded((Number(entry.current) / Number(entry.total)) * 100);
  return null;
}

const bounded = (percent: number): number | null => (Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : null);
