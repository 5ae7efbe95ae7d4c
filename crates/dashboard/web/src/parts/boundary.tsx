// What is shown in place of something that could not be drawn. What is around it continues.
import type { ComponentChildren } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";

/** `name` is what it is about. Another `of` tries again, such as the address of another screen. */
export function Boundary({ name, of = "", children }: { name: string; of?: string; children: ComponentChildren }) {
  const [error, again] = useErrorBoundary((one) => console.error(one)) as [unknown, () => void];
  useEffect(() => {
    if (error !== undefined) again();
  }, [of]);
  if (error === undefined) return <>{children}</>;
  return (
    <>
      <h1>{name} cannot be shown</h1>
      <div class="note bad" role="alert">
        <p>The page has a mistake, or the server sent what it does not expect: {error instanceof Error ? error.message : String(error)}</p>
        <button type="button" onClick={again}>Reload {name.toLowerCase()}</button>
      </div>
    </>
  );
}
