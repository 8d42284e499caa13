"""As much of JSON Schema (2020-12) as docs/plim-dump.schema.json uses; a word it does not know is an error."""
import re

TYPES = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool}
NOTES = {"$schema", "title", "description", "$defs"}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def mistakes(value, schema, root=None, at="$"):
    """Where and how the value does not fit, as a list of sentences."""
    root = schema if root is None else root
    found = []
    for word, rule in schema.items():
        if word in NOTES:
            continue
        if word == "$ref":
            found += mistakes(value, root["$defs"][rule.removeprefix("#/$defs/")], root, at)
        elif word == "type":
            if not any(is_type(value, name) for name in ([rule] if isinstance(rule, str) else rule)):
                return found + [f"{at} is no {rule}: {value!r:.80}"]
        elif word == "const":
            found += [] if value == rule else [f"{at} is not {rule}"]
        elif word == "enum":
            found += [] if value in rule else [f"{at} is none of {rule}: {value!r:.80}"]
        elif word == "minimum":
            found += [f"{at} is below {rule}"] if value is not None and value < rule else []
        elif word == "pattern":
            found += [] if re.search(rule, value) else [f"{at} does not match {rule}"]
        elif word == "items":
            for i, item in enumerate(value):
                found += mistakes(item, rule, root, f"{at}[{i}]")
        elif word == "required":
            found += [f"{at} lacks {name}" for name in rule if name not in value]
        elif word == "properties":
            for name in value.keys() & rule.keys():
                found += mistakes(value[name], rule[name], root, f"{at}.{name}")
        elif word == "propertyNames":
            for name in value:
                found += mistakes(name, rule, root, f"{at} has the name")
        elif word == "additionalProperties":
            for name in value.keys() - schema.get("properties", {}).keys():
                found += [f"{at}.{name} is not known"] if rule is False else \
                    mistakes(value[name], rule, root, f"{at}.{name}")
        else:
            raise AssertionError(f"the schema has {word}, which this does not check")
    return found
