"""`up`: what it asks for is checked, then the cloud starts while the AWS libraries load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from multiaz.cli import configuration, localcloud
from multiaz.cli.output import Output
from multiaz.cli.requests import check_bucket_name
from multiaz.cli.synthesising import check_request, stack_request


def up(
    output: Output,
    *,
    preset: str | None,
    stack: str | None,
    suffix: str | None,
    config: str | None,
    parameters: Sequence[str],
    settings: Sequence[str],
    port: int | None,
    port_base: int | None,
    template_bucket: str | None = None,
    pace: str | None = None,
    seconds: float | None = None,
    standby_loss: str | None = None,
    archive_every_s: float | None = None,
) -> None:
    """Start the local cloud if it is not running, deploy the stack, say how to connect."""
    began = time.monotonic()
    check_bucket_name(template_bucket)
    down_s = localcloud.pace_seconds(pace, seconds)
    asked = check_request(
        preset=preset, stack=stack, suffix=suffix, parameters=parameters, settings=settings, config=config
    )
    configuration.tell_places(output, asked.places)
    with ThreadPoolExecutor(max_workers=1) as pool:
        started = pool.submit(
            localcloud.ensure_started,
            output,
            port=port,
            port_base=port_base,
            endpoint_down_s=down_s,
            standby_loss=standby_loss,
            archive_every_s=archive_every_s,
        )
        from multiaz.cli import deploying  # boto3 and psycopg take as long to load as the cloud to start

        request = stack_request(asked)
        started.result()
    deploying.deploy(output, request, began, template_bucket=template_bucket)
