#!/usr/bin/env python3
"""Is a list of parts (SBOM) what CycloneDX says it is? Prints the parts.

    parts.py FILE

Needs cyclonedx-python-lib. Ends with 1 and says why if the file breaks the schema, or names a part
in a dependency that it does not list.
"""

import json
import sys

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(sys.argv[1], encoding="utf-8").read()
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
if wrong:
    sys.exit(f"{sys.argv[1]}: {wrong}")
bom = Bom.from_json(json.loads(text))
known = {str(part.bom_ref) for part in bom.components} | {str(bom.metadata.component.bom_ref)}
for dependency in bom.dependencies:
    for needed in [dependency, *dependency.dependencies]:
        if str(needed.ref) not in known:
            sys.exit(f"{sys.argv[1]}: {needed.ref} is needed and not listed")
for part in bom.components:
    print(part.name, part.version)
