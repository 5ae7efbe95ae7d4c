// Holds the values of custom resources against the validators that the operators' schemas are compiled to: types, patterns, bounds,
// enumerations, and what is required. Which fields there are at all is for tsc to say. Then spoils every value once, so that it is
// known that each is looked at.
//   node values.mjs resources.json
import { readFileSync } from "node:fs";
import { Cluster } from "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/Cluster";
import { ScheduledBackup } from "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/ScheduledBackup";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

// No schema of an ObjectStore is published: a Cluster takes the same parts.
class ObjectStore {
  constructor(store) {
    const { configuration, retentionPolicy, instanceSidecarConfiguration: sidecar } = store.spec;
    this.cluster = new Cluster({
      metadata: store.metadata,
      spec: {
        instances: 1,
        storage: { size: "1Gi" },
        backup: { barmanObjectStore: configuration, retentionPolicy },
        resources: sidecar?.resources,
        env: sidecar?.env,
      },
    });
  }

  validate() {
    this.cluster.validate();
  }
}

const KINDS = { Cluster, ObjectStore, PodMonitor, PrometheusRule, ScaledObject, ScheduledBackup, ServiceMonitor };

function complaint(resource) {
  try {
    new KINDS[resource.kind](resource).validate();
    return null;
  } catch (error) {
    return error.message;
  }
}

// Every value that is no list and no object, by its path.
function* leaves(value, path = []) {
  if (value !== null && typeof value === "object") {
    for (const [key, inner] of Object.entries(value)) yield* leaves(inner, [...path, key]);
  } else if (path[0] !== "apiVersion" && path[0] !== "kind") {
    yield path;
  }
}

function spoiled(resource, path) {
  const copy = structuredClone(resource);
  const parent = path.slice(0, -1).reduce((value, key) => value[key], copy);
  parent[path.at(-1)] = { spoiled: {} };
  return copy;
}

const resources = JSON.parse(readFileSync(process.argv[2], "utf8"));
let [bad, values] = [0, 0];
const tell = (file, resource, what) => {
  bad += 1;
  console.log(`${file}: ${resource.kind} ${resource.metadata.name}: ${what}`);
};
for (const { file, resource } of resources) {
  const wrong = complaint(resource);
  if (wrong) tell(file, resource, wrong);
  for (const path of leaves(resource)) {
    values += 1;
    if (!complaint(spoiled(resource, path))) tell(file, resource, `nobody looks at the value of ${path.join(".")}`);
  }
}
console.log(`${resources.length} resources, ${values} values`);
process.exit(bad === 0 && values > 0 ? 0 : 1);
