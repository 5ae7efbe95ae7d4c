// Why the page does not know what only the stream has. Pure.
import type { Connection } from "./live";

/** The words for a value that the stream would have. */
export function whyUnknown(connection: Connection): string {
  switch (connection) {
    case "live":
      return "not known yet";
    case "connecting":
      return "not known until the page is live";
    case "paused":
      return "not known while the page is paused";
    case "limited":
      return "not known to this key, which gets no live counts";
    case "lost":
    case "down":
      return "not known without live updates";
  }
}
