"""S3 on this machine, for tests of object storage: a process with moto's server, and a bucket."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """Start a server, and yield the environment variables with which a process uses it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    s3fs.S3FileSystem.clear_instance_cache()  # of an earlier server in this process
    try:
        yield KEYS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        running.stop()


def make_bucket(name: str) -> None:
    """Make a bucket, if there is none."""
    import fsspec

    with contextlib.suppress(FileExistsError):  # moto keeps the buckets of an earlier server in this process
        fsspec.filesystem("s3").mkdir(name)


def objects(url: str) -> dict[str, bytes]:
    """Return the objects below a URL by their names."""
    import fsspec

    system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return {name.removeprefix(f"{path}/"): system.cat_file(name) for name in sorted(system.find(path))}


def put(url: str, content: bytes) -> None:
    import fsspec

    system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    system.pipe_file(path, content)
