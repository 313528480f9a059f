"""Prints a job's candidates with grpcio, knowing the messages by reflection alone: one line of JSON each.

usage: report_client.py HOST:PORT JOB
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "assay.v1.JobService"


def figure(message, field: str):
    """What was not measured is absent."""
    return getattr(message, field) if message.HasField(field) else None


def interval(entry, field: str):
    return [getattr(entry, field).low, getattr(entry, field).high] if entry.HasField(field) else None


def main() -> None:
    address, job = sys.argv[1], sys.argv[2]
    with grpc.insecure_channel(address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName(SERVICE).methods_by_name["GetJob"]
        get_job = channel.unary_unary(
            f"/{SERVICE}/GetJob",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        report = get_job(GetMessageClass(method.input_type)(name=job), timeout=10).report
    for name in ("ranking", "rejected", "failed"):
        for entry in getattr(report, name):
            line = {
                "list": name,
                "rank": figure(entry, "rank"),
                "instance_type": entry.instance_type,
                "cost_per_inference_usd": figure(entry, "cost_per_inference_usd"),
                "cost_per_inference_ci95": interval(entry, "cost_per_inference_usd_ci95"),
                "max_invocations_per_min": figure(entry, "max_invocations_per_min"),
                "max_invocations_ci95": interval(entry, "max_invocations_per_min_ci95"),
                "p95_us": entry.result.latency.p95_us if entry.HasField("result") else None,
                "steps": len(entry.steps),
            }
            print(json.dumps(line))


if __name__ == "__main__":
    main()
