"""What a plugin brings, as the contract's records."""

import json

import crossing
from wit_world.imports import types as wit

_CADENCES = {"fixed-rate": wit.Cadence.FIXED_RATE, "fixed-delay": wit.Cadence.FIXED_DELAY}


def description(brought: dict[str, list[dict]]) -> wit.Description:
    """From the plain data of `capability.describe`. Raises: Failure `description_too_large`."""
    crossing.within(json.dumps(brought), "what the plugin brings", "description_too_large")
    return wit.Description(
        functions=[_function(each) for each in brought["functions"]],
        events=[_event(each) for each in brought["events"]],
        routines=[
            wit.Routine(each["name"], each["interval_ns"], _CADENCES[each["cadence"]]) for each in brought["routines"]
        ],
        subscriptions=[
            wit.Subscription(each["name"], each["device"], each["event"]) for each in brought["subscriptions"]
        ],
    )


def _function(each: dict) -> wit.Function:
    return wit.Function(
        each["name"], each["description"], json.dumps(each["parameters"]), _labels(each["labels"]), each["tags"]
    )


def _event(each: dict) -> wit.Event:
    schema = each["payload_schema"]
    text = None if schema is None else json.dumps(schema)
    return wit.Event(each["name"], each["description"], text, _labels(each["labels"]), each["tags"])


def _labels(labels: dict[str, str | list[str]]) -> list[wit.Label]:
    def value(given: str | list[str]) -> wit.LabelValue:
        return wit.LabelValue_Text(given) if isinstance(given, str) else wit.LabelValue_Texts(given)

    return [wit.Label(key, value(given)) for key, given in labels.items()]
