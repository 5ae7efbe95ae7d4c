// The page: signs in, then shows the navigation and a screen.
import { render } from "preact";
import { useCallback, useEffect, useState } from "preact/hooks";
import { LocationProvider, Route, Router } from "preact-iso";
import { Problem, session } from "./api";
import { href, ui } from "./base";
import { SessionContext } from "./context";
import { Frame } from "./frame";
import * as live from "./live";
import { Boundary } from "./parts/boundary";
import { DialogProvider } from "./parts/dialog";
import { screens } from "./screens";
import { Missing } from "./screens/missing";
import { SignIn } from "./screens/sign-in";
import { applyTheme } from "./theme";
import type { Session } from "./types";

/** How soon the page asks again if the API does not answer. */
const AGAIN_MS = 3_000;

function App() {
  const [who, set] = useState<Session | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const ask = useCallback(() => {
    session().then(
      (answer) => {
        setProblem(null);
        set(answer);
      },
      (error: unknown) => {
        setProblem(error instanceof Problem ? error : new Problem(0, "unknown", String(error)));
        window.setTimeout(ask, AGAIN_MS);
      },
    );
  }, []);
  useEffect(ask, [ask]);
  const signedIn = who?.authenticated === true;
  useEffect(() => {
    if (!signedIn) return;
    live.start(ask);
    return live.stop;
  }, [signedIn, ask]);
  if (!who) return problem ? <main class="alone"><p role="alert">{problem.message} Trying again…</p></main> : <Begin />;
  if (!who.authenticated) return <SignIn onDone={set} />;
  return (
    <SessionContext.Provider value={who}>
      <LocationProvider scope={href("")}>
        <DialogProvider>
          <Frame onSignedOut={set}>
            <Router>
              {screens.map(({ path, component }) => <Route key={path} path={href(path)} component={component} />)}
              <Route default component={Missing} />
            </Router>
          </Frame>
        </DialogProvider>
      </LocationProvider>
    </SessionContext.Provider>
  );
}

/** What index.html shows before this script runs, until the page knows who the user is. */
const Begin = () => <header class="top"><span class="brand"><img src={`${ui}assets/icon.svg`} alt="" width="22" height="22" /> jobqueue</span></header>;

applyTheme();
const root = document.getElementById("app");
if (root) {
  root.replaceChildren();
  render(<Boundary name="The page"><App /></Boundary>, root);
}
