// Where the page is. The server sends a `<base>` that leads to `/ui/`, so only the browser knows the prefix of a proxy.

/** Path of the page, such as `/ui/` or `/jobqueue/ui/`. */
export const ui = new URL("./", document.baseURI).pathname;
/** Path of the API, such as `/v1/`. */
export const api = new URL("../v1/", document.baseURI).pathname;
/** Path of the page of the API. */
export const docs = new URL("../docs/", document.baseURI).pathname;

/** The URL of a screen: `href("jobs?q=kind:a")`. */
export const href = (screen: string): string => ui + screen;
