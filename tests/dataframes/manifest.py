#!/usr/bin/env python3
"""Is a file of Kubernetes objects what Kubernetes' own schema says they are? Prints the capabilities.

    manifest.py FILE

Needs kubernetes-validate, which brings the schemas. Ends with 1 and says why if an object breaks its own,
strictly: a field that is not there in Kubernetes is wrong too.
"""

import sys

import kubernetes_validate
import yaml

for document in yaml.safe_load_all(open(sys.argv[1], encoding="utf-8")):
    kubernetes_validate.validate(document, "1.30", strict=True)
    for container in document.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        print(*sorted(container["securityContext"]["capabilities"]["add"]))
