"""Holds every answer against botocore's own service model, member by member.

botocore drops what it does not know and does not miss what is not there, so a client alone proves little.
"""

import json

# Beside the model on purpose: the two spellings of the documentation's sample.
BESIDE_THE_MODEL = {"MaximumInvocations", "Compiled"}

PLAIN = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


def watch(client) -> set[str]:
    """Checks all that this client is answered; the set tells which operations were."""
    answered: set[str] = set()

    def check(http_response, model, **_):
        if http_response.status_code != 200:
            assert http_response.status_code < 500, (model.name, http_response.status_code)
            return
        answered.add(model.name)
        assert http_response.headers.get("x-amzn-requestid"), model.name
        if model.output_shape is None:
            assert http_response.content == b"", (model.name, http_response.content)
            return
        walk(model.output_shape, json.loads(http_response.content), model.name)

    client.meta.events.register(f"after-call.{client.meta.service_model.service_id.hyphenize()}", check)
    return answered


def walk(shape, value, path: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        assert isinstance(value, dict), (path, value)
        unknown = set(value) - set(members) - BESIDE_THE_MODEL
        assert not unknown, f"{path} has unknown members {unknown}"
        missing = set(shape.required_members) - set(value)
        assert not missing, f"{path} lacks {missing}"
        if getattr(shape, "is_tagged_union", False):
            assert len(value) == 1, (path, value)
        for name in set(value) & set(members):
            walk(members[name], value[name], f"{path}.{name}")
    elif kind == "list":
        assert isinstance(value, list), (path, value)
        for index, member in enumerate(value):
            walk(shape.member, member, f"{path}[{index}]")
    elif kind == "map":
        for key, member in value.items():
            walk(shape.value, member, f"{path}[{key}]")
    else:
        assert isinstance(value, PLAIN[kind]), (path, kind, value)
        if kind != "boolean":
            assert not isinstance(value, bool), (path, kind, value)
        if getattr(shape, "enum", None) and "InstanceType" not in path:
            assert value in shape.enum, (path, value)
