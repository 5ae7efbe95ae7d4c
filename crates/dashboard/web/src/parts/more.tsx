// The end of a list of pages: how many are shown, the next page, and reading again.
import { number } from "../format";
import type { Pages } from "../pages";
import { Failed } from "./basics";

/** More entries are not shown at once. */
const MAX_SHOWN = 1_000;

export const More = ({ of }: { of: Pages<unknown> }) => (
  <>
    {of.problem ? <Failed problem={of.problem} retry={of.load} /> : null}
    <div class="more">
      {of.more && of.entries.length < MAX_SHOWN ? (
        <button type="button" onClick={of.load}>Show more</button>
      ) : (
        <span class="quiet">{number(of.entries.length)} shown{of.more ? "; a filter shows the others" : ", no more match"}</span>
      )}
      <button type="button" onClick={of.refresh} disabled={of.first.busy}>Refresh</button>
    </div>
  </>
);
