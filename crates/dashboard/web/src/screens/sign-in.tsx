// Asks for an API key. The key goes to the server once, which keeps it in a cookie that no script can read.
import { useState } from "preact/hooks";
import { Problem, signIn } from "../api";
import type { Session } from "../types";

export function SignIn({ onDone }: { onDone: (session: Session) => void }) {
  const [problem, set] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const key = new FormData(event.currentTarget as HTMLFormElement).get("key");
    setBusy(true);
    try {
      onDone(await signIn(String(key ?? "")));
    } catch (error) {
      const refused = error instanceof Problem && error.status === 401;
      set(refused ? "This key is not valid. It may have expired or been revoked." : error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };
  return (
    <main class="alone">
      <form class="card sign-in" onSubmit={(event) => void submit(event)}>
        <h1>jobqueue</h1>
        <label for="key">API key</label>
        <input id="key" name="key" type="password" required autocomplete="current-password" autofocus aria-describedby="key-hint" />
        <p id="key-hint" class="quiet">A key with the scope <code>read</code> shows everything; <code>write</code> and <code>admin</code> allow changes.</p>
        {problem ? <p class="note bad" role="alert">{problem}</p> : null}
        <button type="submit" class="primary" disabled={busy}>Sign in</button>
      </form>
    </main>
  );
}
