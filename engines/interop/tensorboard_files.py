"""Export as a TensorBoard event file, through TensorBoard's own record writer, without torch or TensorFlow.

TensorBoard stores scalars as float32.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from engines.interop import series
from engines.interop.tables import ReportStep, describe_run
from engines.runs.record import RunRecord

_FORMAT = "brain.Event:2"  # the first record of every event file


def write(record: RunRecord, folder: Path, report_step: ReportStep) -> None:
    """Write `events.out.tfevents.….<run>`.

    It has scalars of every step and evaluation, and settings, figures and samples as text.
    """
    proto = import_module("tensorboard.compat.proto.event_pb2")
    started = series.start_time(record)
    with open(folder / f"events.out.tfevents.{max(0, int(started)):010d}.{record.run.id}", "wb") as file:
        records = import_module("tensorboard.summary.writer.record_writer").RecordWriter(file)
        records.write(proto.Event(wall_time=started, file_version=_FORMAT).SerializeToString())
        description = describe_run(record)
        for name in ("settings", "figures"):
            values = [_text_value(name, json.dumps(description[name], indent=1))]
            records.write(proto.Event(wall_time=started, summary={"value": values}).SerializeToString())
        for point in series.iterate_points(record):
            values = [{"tag": name, "simple_value": value} for name, value in point.numbers.items()]
            if point.sample is not None:
                values.append(_text_value("sample", point.sample))
            event = proto.Event(wall_time=started + point.t, step=point.step, summary={"value": values})
            records.write(event.SerializeToString())
            report_step(point.step)


def _text_value(tag: str, text: str) -> dict[str, Any]:
    """Return a value for the text plugin, which renders Markdown: indented text is shown verbatim."""
    shown = "".join(f"    {line}" for line in text.splitlines(keepends=True))
    return {
        "tag": tag,
        "metadata": {"plugin_data": {"plugin_name": "text"}},
        "tensor": {"dtype": "DT_STRING", "string_val": [shown.encode("utf-8", "backslashreplace")]},
    }
