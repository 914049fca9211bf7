"""Compares the shape of two JSON values: the same keys with the same types; more keys are welcome."""


def kind(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def differences(expected, actual, path="$", may_be_null=()):
    """What `actual` lacks or has otherwise, as one line each.

    An array's elements are all held against the first element expected; the keys of a JSON Schema's `properties` are
    values, not shape. Paths are dotted, with `[]` for an element.
    """
    if kind(expected) != kind(actual):
        if path in may_be_null and actual is None:
            return []
        return [f"{path}: expected {kind(expected)}, got {kind(actual)}"]
    if path.endswith(".properties"):
        return []
    found = []
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key in actual:
                found += differences(value, actual[key], f"{path}.{key}", may_be_null)
            else:
                found.append(f"{path}.{key}: missing")
    elif isinstance(expected, list) and expected:
        for element in actual:
            found += differences(expected[0], element, f"{path}[]", may_be_null)
    return found
