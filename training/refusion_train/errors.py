"""How training fails on bad input: one line that names the file, field or option, what was found, what was wanted."""
import json
from typing import Any


class TrainError(Exception):
    """Shown as one line; the exit status is 1."""


def describe(value: Any) -> str:
    """What a JSON value is, in a few words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 40 else value[:37] + "...")
    return "an array" if isinstance(value, list) else "an object"


def read_json(path: str) -> dict:
    """The JSON object in a file."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except OSError as error:
        raise TrainError(f"{path}: {error.strerror}") from None
    except ValueError as error: # JSONDecodeError and UnicodeDecodeError
        raise TrainError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise TrainError(f"{path}: holds {describe(value)}, wanted an object")
    return value
