"""Describe the team's service to Ray Serve: replicas of an engine, how many, and how requests find them."""

from __future__ import annotations

from typing import Any

import msgspec
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.schema import LoggingConfig

from palimpsest_team.options import Deployed, deployed_of
from palimpsest_team.replica import EngineReplica
from palimpsest_team.routing import DocumentRouter

_CONSTRUCTIONS = 3  # that may fail before the deployment is said to have failed


def application(deployed: Deployed) -> serve.Application:
    """Return what `serve.run` deploys."""
    least, most = deployed.replicas.least, deployed.replicas.most
    autoscaling = AutoscalingConfig(
        min_replicas=least,
        max_replicas=most,
        target_ongoing_requests=deployed.target,
        upscale_delay_s=deployed.upscale_seconds,
        downscale_delay_s=deployed.downscale_seconds,
    )
    replica = serve.deployment(
        EngineReplica,
        name="engine",
        **({"num_replicas": least} if least == most else {"autoscaling_config": autoscaling}),
        ray_actor_options={"num_cpus": deployed.cpus, "num_gpus": deployed.gpus},
        max_ongoing_requests=deployed.at_once,
        max_queued_requests=deployed.at_once * most,
        graceful_shutdown_timeout_s=deployed.drain_seconds,
        graceful_shutdown_wait_loop_s=0.2,
        health_check_period_s=deployed.health_seconds,
        health_check_timeout_s=max(10.0, 2 * deployed.health_seconds),
        max_constructor_retry_count=_CONSTRUCTIONS,
        request_router_config=RequestRouterConfig(request_router_class=DocumentRouter),
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )
    return replica.bind(msgspec.msgpack.encode(deployed))


def build(arguments: dict[str, Any]) -> serve.Application:
    """Return the application for the arguments of a manifest (`serveConfigV2` of KubeRay, `serve deploy`)."""
    return application(deployed_of(arguments))
