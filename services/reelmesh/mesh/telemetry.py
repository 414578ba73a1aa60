"""Traces and metrics to where OTEL_EXPORTER_OTLP_ENDPOINT points, and logs as one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF


def start(process: str, environment: str) -> None:
    """Set up logging and, where an endpoint is configured, tracing and metrics. Called once by a process's main."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=os.environ.get("REELMESH_LOG_LEVEL", "INFO"), handlers=[handler], force=True)
    for chatty in ("cassandra", "opentelemetry"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    resource = Resource.create({"service.name": process, "deployment.environment.name": environment})
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        metrics.set_meter_provider(MeterProvider([reader], resource))
    else:
        provider = TracerProvider(resource=resource, sampler=ALWAYS_OFF)  # calls still have their traces' names in logs
    trace.set_tracer_provider(provider)


def stop() -> None:
    """Send the spans and counts that wait, and write out the logs. Called once, when a process leaves."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        if isinstance(provider, (TracerProvider, MeterProvider)):
            provider.shutdown()
    logging.shutdown()


class JsonLines(logging.Formatter):
    """One JSON object a line, with the trace that the line belongs to."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace"] = f"{span.trace_id:032x}"
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
