"""A server that speaks S3 (moto) on loopback, behind a relay that can be cut: a service that goes away keeps what it had."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUCKET = "lab"
PORT = 28900
RELAY = """
import asyncio, sys
there = int(sys.argv[2])

async def pour(source, target):
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        pass
    target.close()

async def met(reader, writer):
    try:
        further, back = await asyncio.open_connection("127.0.0.1", there)
    except OSError:
        return writer.close()
    await asyncio.gather(pour(reader, back), pour(further, writer))

async def main():
    async with await asyncio.start_server(met, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def lacking_s3() -> str:
    """Return what is missing for S3, or nothing."""
    return ", ".join(name for name in ("s3fs", "moto", "flask") if importlib.util.find_spec(name) is None)


class Store:
    """One bucket."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.env = {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # where s3fs may be
        }

    def __enter__(self) -> Store:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self.relay, self.server)

    def _start(self) -> None:
        line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(PORT + 1)]
        env = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "6"}  # the keys of two users; then every request is looked at
        self.server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT + 1}/moto-api/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        self.env |= self._keys("writer", ["s3:*"])
        self.reader = self._keys("reader", ["s3:Get*", "s3:List*"])
        self._store().mkdir(BUCKET)
        self._relay()

    @staticmethod
    def _keys(user: str, may: list[str]) -> dict[str, str]:
        """Return the keys of a new user."""
        import boto3

        none = {"region_name": "us-east-1", "aws_access_key_id": "none", "aws_secret_access_key": "none"}
        iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{PORT + 1}", **none)
        iam.create_user(UserName=user)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": may, "Resource": "*"}]}
        iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def _relay(self) -> None:
        self.relay = subprocess.Popen([sys.executable, "-c", RELAY, str(PORT), str(PORT + 1)])
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", PORT), 1).close()
                return
            except OSError:
                time.sleep(0.1)

    @staticmethod
    def _end(*processes: subprocess.Popen[bytes]) -> None:
        for process in processes:
            process.kill()
            process.wait()

    def _store(self) -> Any:
        import s3fs

        key, secret = self.env["AWS_ACCESS_KEY_ID"], self.env["AWS_SECRET_ACCESS_KEY"]
        return s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=f"http://127.0.0.1:{PORT + 1}", skip_instance_cache=True)

    def url(self, root: Path) -> str:
        """Return where the records of a study go."""
        return f"s3://{BUCKET}/{root.parent.name}"

    def count(self, root: Path) -> int:
        """Return how many records of a study there are, without one that is being written."""
        return sum(path.endswith(".npz") for path in self._store().find(f"{BUCKET}/{root.parent.name}"))

    def records(self, root: Path) -> dict[str, bytes]:
        """Return all objects of a study, whatever they are called."""
        store = self._store()
        found = store.find(f"{BUCKET}/{root.parent.name}")
        return {path.rpartition("/")[2]: store.cat_file(path) for path in found}

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have the service refuse every connection."""
        self._end(self.relay)
        try:
            yield
        finally:
            self._relay()

    def delete(self, root: Path) -> None:
        """Delete all that a study has there."""
        self._store().rm(self.url(root), recursive=True)

    def replace(self) -> None:
        """Kill the server, and begin it again: bucket and keys are new, what it had is gone."""
        self._end(self.relay, self.server)
        self._start()
