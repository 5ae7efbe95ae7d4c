"""Writes the custom resources of rendered manifests as TypeScript constants of the operators' own types, for `tsc` to check.

Usage: custom_resources.py WORKPLACE RENDERED. A literal of a type may have no field that the type does not have, so a typo fails.
"""

import json
import pathlib
import sys

import yaml

# apiVersion/kind to the module and the type.
TYPES = {
    "keda.sh/v1alpha1/ScaledObject": ("@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject", "IScaledObject"),
    "monitoring.coreos.com/v1/ServiceMonitor": (
        "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
        "IServiceMonitor",
    ),
    "monitoring.coreos.com/v1/PodMonitor": (
        "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor",
        "IPodMonitor",
    ),
    "monitoring.coreos.com/v1/PrometheusRule": (
        "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
        "IPrometheusRule",
    ),
    "postgresql.cnpg.io/v1/Cluster": (
        "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/Cluster",
        "ICluster",
    ),
    "postgresql.cnpg.io/v1/ScheduledBackup": (
        "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1/ScheduledBackup",
        "IScheduledBackup",
    ),
}
# The plugin's own type is not published; what matters of it is a type that CloudNativePG has too.
PARTS = {
    "barmancloud.cnpg.io/v1/ObjectStore": (
        "@kubernetes-models/cloudnative-pg/github.com/cloudnative-pg/barman-cloud/pkg/api/BarmanObjectStoreConfiguration",
        "IBarmanObjectStoreConfiguration",
        "configuration",
    ),
}
OPTIONS = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "module": "nodenext",
        "moduleResolution": "nodenext",
        "target": "es2022",
        "skipLibCheck": True,
    },
    "files": ["resources.ts"],
}


def main() -> None:
    """Reads every rendered file and writes resources.ts beside a tsconfig.json."""
    workplace, rendered = map(pathlib.Path, sys.argv[1:])
    imports, lines, seen = set(), [], set()
    for path in sorted(rendered.glob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text()):
            if not resource or "." not in resource["apiVersion"].split("/")[0]:
                continue
            kind = f"{resource['apiVersion']}/{resource['kind']}"
            if resource["apiVersion"].split("/")[0].endswith(".k8s.io"):
                continue
            if kind in PARTS:
                module, name, part = PARTS[kind]
                resource = resource["spec"][part]
            elif kind in TYPES:
                module, name = TYPES[kind]
            else:
                sys.exit(f"{path.name}: no types for {kind}: add them to {sys.argv[0]}")
            text = json.dumps(resource, ensure_ascii=False)
            if text not in seen:
                seen.add(text)
                imports.add(f'import type {{ {name} }} from "{module}";')
                lines.append(f"// {path.name}\nexport const resource{len(lines)}: {name} = {text};")
    (workplace / "resources.ts").write_text("\n".join([*sorted(imports), *lines]) + "\n")
    (workplace / "tsconfig.json").write_text(json.dumps(OPTIONS))
    print(f"{len(lines)} custom resources")


if __name__ == "__main__":
    main()
