// A new text for a key. The old one stays valid for a while.
import { useState } from "preact/hooks";
import { act } from "../../api";
import { Modal, Refused } from "../../parts/dialog";
import { usePerform } from "../../perform";
import type { ApiKey } from "../../types";
import type { NewKey } from "./shown";

const OVERLAPS = [["0", "ends at once"], ["3600", "is valid for 1 more hour"], ["86400", "is valid for 1 more day"], ["604800", "is valid for 7 more days"], ["2592000", "is valid for 30 more days"]] as const;

export function RotateForm({ of, onClose, onDone }: { of: ApiKey; onClose: () => void; onDone: (key: NewKey) => void }) {
  const [overlap, set] = useState("86400");
  const { busy, problem, perform } = usePerform(undefined, { inForm: true });
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const made = await perform(() => act<NewKey>("POST", `api-keys/${of.id}/rotate`, { overlap_seconds: Number(overlap) }));
    if (made) onDone(made);
  };
  return (
    <Modal title={`Rotate ${of.name}?`} onClose={onClose}>
      <form onSubmit={(event) => void send(event)}>
        <p class="quiet">The key gets a new text. One from a rotation before this one ends at once.</p>
        <label>
          <span>The text that it has now</span>
          <select value={overlap} onChange={(event) => set(event.currentTarget.value)}>{OVERLAPS.map(([value, text]) => <option key={value} value={value}>{text}</option>)}</select>
        </label>
        <Refused problem={problem} />
        <div class="buttons">
          <button type="button" onClick={onClose}>Keep as it is</button>
          <button type="submit" class="primary" disabled={busy}>Rotate 1 key</button>
        </div>
      </form>
    </Modal>
  );
}
