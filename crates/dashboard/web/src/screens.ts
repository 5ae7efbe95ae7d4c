// All screens. A new one is a file in screens/ and a line here; the navigation and the routes follow from it.
import type { ComponentType } from "preact";
import { ApiKeysScreen } from "./screens/api-keys";
import { AuditScreen } from "./screens/audit";
import { DeadLetterGroupScreen } from "./screens/dead-letter-group";
import { DeadLettersScreen } from "./screens/dead-letters";
import { JobScreen } from "./screens/job";
import { JobsScreen } from "./screens/jobs";
import { OverviewScreen } from "./screens/overview";
import { QueueScreen } from "./screens/queue";
import { QueuesScreen } from "./screens/queues";
import { ScheduleScreen } from "./screens/schedule";
import { SchedulesScreen } from "./screens/schedules";
import { WorkerScreen } from "./screens/worker";
import { WorkersScreen } from "./screens/workers";

export interface Screen {
  /** Path below `/ui/`; `:name` becomes a property of the component. */
  path: string;
  /** Text in the navigation; without it the screen is reached by links only. */
  nav?: string;
  /** Without this scope of the key it is not in the navigation. */
  scope?: "admin";
  component: ComponentType<any>;
}

export const screens: Screen[] = [
  { path: "", nav: "Overview", component: OverviewScreen },
  { path: "jobs", nav: "Jobs", component: JobsScreen },
  { path: "jobs/:id", component: JobScreen },
  { path: "queues", nav: "Queues", component: QueuesScreen },
  { path: "queues/:name", component: QueueScreen },
  { path: "workers", nav: "Workers", component: WorkersScreen },
  { path: "workers/:id", component: WorkerScreen },
  { path: "schedules", nav: "Schedules", component: SchedulesScreen },
  { path: "schedules/:name", component: ScheduleScreen },
  { path: "dead-letters", nav: "Dead letters", component: DeadLettersScreen },
  { path: "dead-letters/:group", component: DeadLetterGroupScreen },
  { path: "audit", nav: "Audit", scope: "admin", component: AuditScreen },
  { path: "api-keys", nav: "API keys", scope: "admin", component: ApiKeysScreen },
];
