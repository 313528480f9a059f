"""Lists and watches jobs with grpcio, knowing the services by reflection alone.

usage: jobs_client.py HOST:PORT JOB
"""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

SERVICE = "assay.v1.JobService"


def main() -> None:
    address, job = sys.argv[1], sys.argv[2]
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING, health

        database = ProtoReflectionDescriptorDatabase(channel)
        services = database.get_services()
        for expected in (SERVICE, "assay.v1.FleetService", "assay.v1.PriceService", "grpc.health.v1.Health"):
            assert expected in services, (expected, services)
        pool = DescriptorPool(database)
        methods = pool.FindServiceByName(SERVICE).methods_by_name

        def message(method: str, **fields):
            return GetMessageClass(methods[method].input_type)(**fields)

        def codec(method: str):
            answer = GetMessageClass(methods[method].output_type)
            return {
                "request_serializer": lambda request: request.SerializeToString(),
                "response_deserializer": answer.FromString,
            }

        listing = channel.unary_unary(f"/{SERVICE}/ListJobs", **codec("ListJobs"))
        jobs = listing(message("ListJobs"), timeout=10).jobs
        assert job in [entry.name for entry in jobs], jobs

        watching = channel.unary_stream(f"/{SERVICE}/WatchJob", **codec("WatchJob"))
        events = list(watching(message("WatchJob", name=job), timeout=60))
        sequences = [event.sequence for event in events if event.sequence]
        assert sequences == list(range(1, len(sequences) + 1)), sequences
        kinds = [event.WhichOneof("event") for event in events]
        assert "step_finished" in kinds and "trial_ended" in kinds, kinds
        assert kinds[-1] == "status_changed", kinds
    print(f"{len(jobs)} jobs, {len(events)} events")


if __name__ == "__main__":
    main()
