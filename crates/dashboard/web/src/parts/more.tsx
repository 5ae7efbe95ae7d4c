// The end of a list of pages: how many are shown, the next page, and reading again.
import { ago, number } from "../format";
import type { Pages } from "../pages";
import { useNow } from "../use";
import { Failed } from "./basics";

/** More entries are not shown at once. */
const MAX_SHOWN = 1_000;

export function More({ of }: { of: Pages<unknown> }) {
  const now = useNow();
  return (
    <>
      {of.problem ? <Failed problem={of.problem} retry={of.load} again={false} /> : null}
      <div class="more">
        {of.more && of.entries.length < MAX_SHOWN ? (
          <button type="button" onClick={of.load} disabled={of.loading}>Show more</button>
        ) : (
          <span class="quiet">{number(of.entries.length)} shown{of.more ? "; a filter shows the others" : ", no more match"}</span>
        )}
        {of.isFollowed ? null : <span class="quiet">read {ago(of.first.at, now)}</span>}
        <button type="button" onClick={of.refresh} disabled={of.first.busy}>Refresh</button>
      </div>
    </>
  );
}
