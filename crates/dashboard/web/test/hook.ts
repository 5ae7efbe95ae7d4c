// Runs a hook without a browser: in a component that draws nothing.
import { h, render, type ContainerNode } from "preact";
import { act } from "preact/test-utils";

export interface Hook<T> {
  /** What the hook returned last. */
  readonly now: T;
  /** Waits until what was asked for has had its effect. */
  settle: () => Promise<void>;
  /** Draws again with another hook, or with the same. */
  draw: (use?: () => T) => Promise<void>;
  /** As when its screen is left. */
  leave: () => void;
}

/** Draws a component that uses the hook. */
export async function hook<T>(use: () => T): Promise<Hook<T>> {
  let used = use;
  let last: { value: T } | undefined;
  const parent = { nodeType: 1, childNodes: [], firstChild: null, ownerDocument: null, namespaceURI: "" } as unknown as ContainerNode;
  const Component = () => {
    last = { value: used() };
    return null;
  };
  const draw = async (next: () => T = used): Promise<void> => {
    used = next;
    await act(async () => render(h(Component, {}), parent));
  };
  await draw();
  return {
    get now() {
      if (!last) throw new Error("not drawn");
      return last.value;
    },
    settle: () => act(() => new Promise<void>((resolve) => setImmediate(resolve))),
    draw,
    leave: () => act(() => render(null, parent)) as unknown as void,
  };
}
