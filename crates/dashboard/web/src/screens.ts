// All screens. A new one is a file in screens/ and a line here; the navigation and the routes follow from it.
import type { ComponentType } from "preact";
import { JobScreen } from "./screens/job";
import { JobsScreen } from "./screens/jobs";
import { OverviewScreen } from "./screens/overview";

export interface Screen {
  /** Path below `/ui/`; `:name` becomes a property of the component. */
  path: string;
  /** Text in the navigation; without it the screen is reached by links only. */
  nav?: string;
  component: ComponentType<any>;
}

export const screens: Screen[] = [
  { path: "", nav: "Overview", component: OverviewScreen },
  { path: "jobs", nav: "Jobs", component: JobsScreen },
  { path: "jobs/:id", component: JobScreen },
];
