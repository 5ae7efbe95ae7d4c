// A path without a screen.
import { Empty, Link } from "../parts/basics";

export const Missing = () => (
  <>
    <h1>Not found</h1>
    <Empty title="There is no screen at this address."><p><Link to="">Go to the overview</Link></p></Empty>
  </>
);
