// Commands to a worker. It gets them with its next heartbeat, so the page waits for the answer and says it.
import { useEffect, useRef, useState } from "preact/hooks";
import { act, get } from "../../api";
import { several } from "../../format";
import { Modal, useDialogs } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { Worker, WorkerCommand } from "../../types";

/** A command is asked after so often, for so long. */
const ASK_MS = 1_000;
const ASK_TIMES = 30;

/** Waits until a worker has answered a command; `undefined` if it did not in time. */
async function answer(worker: string, command: number, signal: AbortSignal): Promise<WorkerCommand | undefined> {
  for (let time = 0; time < ASK_TIMES && !signal.aborted; time += 1) {
    const { commands } = await get<{ commands: WorkerCommand[] }>(`workers/${worker}/commands`, { signal });
    const mine = commands.find((one) => one.id === command);
    if (mine && (mine.status === "acknowledged" || mine.status === "refused")) return mine;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  return undefined;
}

/** Sends commands, and says what the worker answered. */
function useCommand(worker: Worker, onDone: () => void) {
  const { perform } = usePerform();
  const { say } = useDialogs();
  const [busy, setBusy] = useState(false);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const send = async (body: { command: string; slots?: number }, done: string): Promise<void> => {
    setBusy(true);
    const sent = await perform(() => act<{ id: number }>("POST", `workers/${worker.id}/commands`, body), `${worker.name} gets the command with its next heartbeat.`);
    if (sent) {
      // a worker that ended meanwhile has no commands any more
      const answered = await answer(worker.id, sent.id, stop.current.signal).catch(() => undefined);
      if (stop.current.signal.aborted) return;
      if (answered?.status === "acknowledged") say(done);
      else if (answered) say(`${worker.name} refused: ${answered.error ?? "no reason"}`, true);
      else say(`${worker.name} has not answered yet.`, true);
      onDone();
    }
    setBusy(false);
  };
  return { busy, send };
}

/** `compact` leaves out what is only on the screen of the worker. */
export function WorkerActions({ worker, gone, onDone, compact = false }: { worker: Worker; gone: boolean; onDone: () => void; compact?: boolean }) {
  const { confirm } = useDialogs();
  const { busy, send } = useCommand(worker, onDone);
  const [resizing, resize] = useState(false);
  if (gone) return null;
  const { name } = worker;
  const runs = worker.running === 0 ? "It runs no job now." : `Its ${several(worker.running, "running job")} ${worker.running === 1 ? "goes" : "go"} on.`;
  const pause = async (): Promise<void> => {
    if (await confirm({ title: `Pause ${name}?`, body: <p>It takes no job until it is resumed. {runs}</p>, action: "Pause 1 worker", danger: true })) await send({ command: "pause" }, `${name} is paused.`);
  };
  const drain = async (): Promise<void> => {
    const body = <p>It takes no more jobs, finishes those that run, and ends. {runs} This cannot be undone; what started the worker may start it again.</p>;
    if (await confirm({ title: `Drain ${name}?`, body, action: "Drain 1 worker", danger: true })) await send({ command: "drain" }, `${name} drains.`);
  };
  return (
    <div class="actions tight" role="group" aria-label={`Actions on ${name}`}>
      {worker.paused ? <button type="button" disabled={busy} aria-label={`Resume ${name}`} onClick={() => void send({ command: "resume" }, `${name} is resumed.`)}>Resume</button> : <button type="button" disabled={busy || worker.draining} aria-label={`Pause ${name}`} onClick={() => void pause()}>Pause</button>}
      {compact ? null : <button type="button" disabled={busy || worker.draining} onClick={() => resize(true)}>Resize…</button>}
      <button type="button" class="danger-outline" disabled={busy || worker.draining} aria-label={`Drain ${name}`} onClick={() => void drain()}>Drain</button>
      {resizing ? <Resize worker={worker} onClose={() => resize(false)} onSend={(slots) => { resize(false); void send({ command: "resize", slots }, `${name} has ${several(slots, "slot")}.`); }} /> : null}
    </div>
  );
}

const MAX_SLOTS = 10_000;

function Resize({ worker, onClose, onSend }: { worker: Worker; onClose: () => void; onSend: (slots: number) => void }) {
  const [text, set] = useState(String(worker.slots ?? 1));
  const slots = /^\d+$/.test(text.trim()) ? Number(text) : 0;
  const valid = slots >= 1 && slots <= MAX_SLOTS;
  return (
    <Modal title={`Resize ${worker.name}`} onClose={onClose}>
      <form onSubmit={(event) => { event.preventDefault(); if (valid) onSend(slots); }}>
        <label for="slots">Slots: jobs that it runs at once</label>
        <input id="slots" inputMode="numeric" value={text} autofocus aria-invalid={!valid} onInput={(event) => set(event.currentTarget.value)} />
        <p class="quiet">{valid ? "With fewer slots, running jobs go on. A restart of the worker sets its own number again." : "A whole number from 1 to 10,000."}</p>
        <div class="buttons">
          <button type="button" onClick={onClose}>Keep as it is</button>
          <button type="submit" class="primary" disabled={!valid}>Resize 1 worker</button>
        </div>
      </form>
    </Modal>
  );
}
