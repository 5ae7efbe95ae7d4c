// Checks the values of custom resources with the validators that are compiled from the operators' schemas: types,
// patterns, bounds, enumerations, and required fields. tsc checks which fields exist. Then breaks every value once, to
// prove that the validators check it.
//   node values.mjs resources.json
import { readFileSync } from "node:fs";
import { Cluster } from "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/Cluster";
import { ScheduledBackup } from "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/ScheduledBackup";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

// No schema of an ObjectStore is published, so it is composed from the parts of a Cluster that have the same form.
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

// Returns the path of every value that is neither a list nor an object.
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
const report = (file, resource, what) => {
  bad += 1;
  console.log(`${file}: ${resource.kind} ${resource.metadata.name}: ${what}`);
};
for (const { file, resource } of resources) {
  const wrong = complaint(resource);
  if (wrong) report(file, resource, wrong);
  for (const path of leaves(resource)) {
    values += 1;
    if (!complaint(spoiled(resource, path))) report(file, resource, `no validator checks the value of ${path.join(".")}`);
  }
}
console.log(`${resources.length} resources, ${values} values`);
process.exit(bad === 0 && values > 0 ? 0 : 1);
