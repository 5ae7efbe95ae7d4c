"""Writes the custom resources of rendered manifests so that the operators' own types and schemas can check them.

Usage: custom_resources.py WORKPLACE RENDERED. Into WORKPLACE go resources.json, for values.mjs, and resources.ts, for tsc: a literal of
a type may have no field that the type does not have, so a typo fails. That it does is part of the file: each key of each resource
follows once more with a letter too many, where tsc must find an error.
"""

import json
import pathlib
import sys
from collections.abc import Iterator

import yaml

MONITORING = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"
CNPG = "@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1"
# Maps apiVersion/kind to the module of its type, which is named I followed by the kind.
MODULES = {
    "keda.sh/v1alpha1/ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "monitoring.coreos.com/v1/ServiceMonitor": f"{MONITORING}/ServiceMonitor",
    "monitoring.coreos.com/v1/PodMonitor": f"{MONITORING}/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule": f"{MONITORING}/PrometheusRule",
    "postgresql.cnpg.io/v1/Cluster": f"{CNPG}/Cluster",
    "postgresql.cnpg.io/v1/ScheduledBackup": f"{CNPG}/ScheduledBackup",
    # The plugin does not publish a schema.
    "barmancloud.cnpg.io/v1/ObjectStore": "./object-store.js",
}
# Maps with arbitrary keys: their entries are not fields.
FREE = {"annotations", "labels", "limits", "matchLabels", "parameters", "requests"}
# The metadata of a trigger, the parameters of a plugin.
FREE_IN = {("triggers", "metadata")}
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


def custom_resources(rendered: pathlib.Path) -> Iterator[tuple[str, dict]]:
    """Returns every custom resource, with the first file that contains it."""
    seen = set()
    for path in sorted(rendered.glob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text()):
            group = resource["apiVersion"].rpartition("/")[0] if resource else ""
            if "." not in group or group.endswith(".k8s.io"):
                continue
            text = json.dumps(resource, sort_keys=True)
            if text not in seen:
                seen.add(text)
                yield path.name, resource


def fields(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Returns the path of every field of a value; a list is represented by its first item."""
    if isinstance(value, list) and value:
        yield from fields(value[0], (*path, 0))
    if not isinstance(value, dict):
        return
    names = tuple(key for key in path if key != 0)
    if names and (names[-1] in FREE or names[-2:] in FREE_IN):
        return
    for key, inner in value.items():
        yield (*path, key)
        yield from fields(inner, (*path, key))


def misspelt(value: object, path: tuple) -> object:
    """Returns the value with one extra letter in the name of the field at the path."""
    if isinstance(value, list):
        return [misspelt(value[0], path[1:]), *value[1:]]
    key, rest = path[0], path[1:]
    if not rest:
        return {f"{name}x" if name == key else name: inner for name, inner in value.items()}
    return {name: misspelt(inner, rest) if name == key else inner for name, inner in value.items()}


def main() -> None:
    """Reads every rendered file and writes resources.json, resources.ts and tsconfig.json."""
    workplace, rendered = map(pathlib.Path, sys.argv[1:])
    imports, lines, found, spelt = set(), [], [], set()
    for file, resource in custom_resources(rendered):
        kind = f"{resource['apiVersion']}/{resource['kind']}"
        if kind not in MODULES:
            sys.exit(f"{file}: no types for {kind}: add them to {sys.argv[0]}")
        name = f"I{resource['kind']}"
        imports.add(f'import type {{ {name} }} from "{MODULES[kind]}";')
        found.append({"file": file, "resource": resource})
        lines.append(f"// {file}\nexport const resource{len(lines)}: {name} = {json.dumps(resource)};")
        for path in fields(resource):
            place = (kind, *(key for key in path if key != 0))
            if place not in spelt:
                spelt.add(place)
                wrong = json.dumps(misspelt(resource, path))
                where = ".".join(place[1:])
                lines.append(f"// {where}, misspelt\n// @ts-expect-error\nexport const resource{len(lines)}: {name} = {wrong};")
    (workplace / "resources.ts").write_text("\n".join([*sorted(imports), *lines]) + "\n")
    (workplace / "resources.json").write_text(json.dumps(found))
    (workplace / "tsconfig.json").write_text(json.dumps(OPTIONS))
    print(f"{len(found)} custom resources, {len(spelt)} fields")
    if not spelt:
        sys.exit("nothing to look at")


if __name__ == "__main__":
    main()
