// The plugin barman-cloud publishes no types. Its ObjectStore (barmancloud.cnpg.io/v1, plugin 0.5 and later) is put together here from
// parts that CloudNativePG has too; what it may hold besides them is named one by one.
import type { IObjectMeta } from "@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta";
import type { IBarmanObjectStoreConfiguration } from "@kubernetes-models/cloudnative-pg/github.com/cloudnative-pg/barman-cloud/pkg/api/BarmanObjectStoreConfiguration";
import type { IEnvVar } from "kubernetes-models/v1/EnvVar";
import type { IResourceRequirements } from "kubernetes-models/v1/ResourceRequirements";

export interface IObjectStore {
  apiVersion: "barmancloud.cnpg.io/v1";
  kind: "ObjectStore";
  metadata: IObjectMeta;
  spec: {
    configuration: IBarmanObjectStoreConfiguration;
    retentionPolicy?: string;
    instanceSidecarConfiguration?: {
      env?: IEnvVar[];
      resources?: IResourceRequirements;
      retentionPolicyIntervalSeconds?: number;
    };
  };
}
