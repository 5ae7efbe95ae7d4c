// The text of a new key, once.
import { Copy } from "../../parts/basics";
import { Modal } from "../../parts/dialog";
import type { ApiKey } from "../../types";

/** A key with its text. */
export type NewKey = ApiKey & { key: string };

export const Shown = ({ made, onClose }: { made: NewKey; onClose: () => void }) => (
  <Modal title={`The key ${made.name}`} onClose={onClose}>
    <p>It is shown only now, because only a hash of it is stored. Put it where secrets are kept.</p>
    <p class="secret"><code>{made.key}</code> <Copy text={made.key} label="Copy the key" /></p>
    <div class="buttons"><button type="button" class="primary" autofocus onClick={onClose}>I have stored it</button></div>
  </Modal>
);
