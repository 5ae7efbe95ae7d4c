// What every screen knows: who the user is and what this key may do.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Session } from "./types";

export const SessionContext = createContext<Session>({
  authenticated: false,
  key_required: true,
  name: null,
  scopes: [],
  limited: false,
  trace_url: null,
  version: "",
});

export const useSession = (): Session => useContext(SessionContext);

/** Whether the key has a scope. Without it, leave out the buttons that need it. */
export const useMay = (scope: "read" | "write" | "admin"): boolean => useSession().scopes.includes(scope);
