"""An S3 of moto's with a bucket `assay` that holds the files named; prints `listening URL` and serves until killed.

usage: moto_s3.py FILE...
"""

import pathlib
import sys
import threading

import boto3
from moto.server import ThreadedMotoServer


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    s3 = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    s3.create_bucket(Bucket="assay")
    for name in sys.argv[1:]:
        path = pathlib.Path(name)
        s3.put_object(Bucket="assay", Key=path.name, Body=path.read_bytes())
    print(f"listening {url}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
