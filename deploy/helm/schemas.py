#!/usr/bin/env python3
"""Makes JSON schemas for kubeconform of Kubernetes' OpenAPI document.

schemas.py swagger.json FOLDER writes a file kind-group-version.json for each kind. They are
strict: a field that Kubernetes does not know is an error.
"""

import json
import sys
from pathlib import Path

INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
REFERENCE = "#/definitions/"
# What the document is too old for, and what it has that is the same but for a field that we do not use.
SAME = {("policy", "v1", "PodDisruptionBudget"): ("policy", "v1beta1", "PodDisruptionBudget")}


def strict(schema):
    """The schema, with no other fields than it names."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(value) for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def references(schema):
    """The names of the definitions that a schema refers to."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            # Kubernetes has a property of that name too.
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REFERENCE)
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from references(item)


def needed(name, definitions, found):
    """Adds to `found` the names of all definitions that this one takes."""
    if name not in found:
        found.add(name)
        for other in references(definitions[name]):
            needed(other, definitions, found)
    return found


def main(document, folder):
    raw = json.loads(Path(document).read_text())["definitions"]
    definitions = {name: strict(schema) for name, schema in raw.items()}
    definitions[INT_OR_STRING] = {"type": ["integer", "string"]}
    kinds = {
        (kind["group"], kind["version"], kind["kind"]): name
        for name, schema in raw.items()
        for kind in schema.get("x-kubernetes-group-version-kind", [])
    }
    for missing, same in SAME.items():
        kinds.setdefault(missing, kinds[same])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for (group, version, kind), name in kinds.items():
        file = "-".join(filter(None, [kind, group.split(".")[0], version])).lower()
        schema = {
            "$ref": REFERENCE + name,
            "definitions": {each: definitions[each] for each in needed(name, definitions, set())},
        }
        (folder / f"{file}.json").write_text(json.dumps(schema))


if __name__ == "__main__":
    main(*sys.argv[1:])
