"""Prints as JSON what the error says where culpa cannot be imported, and else nothing."""

import json

try:
    import culpa  # noqa: F401
except ImportError as error:
    print(json.dumps(str(error)))
