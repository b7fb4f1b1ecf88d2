"""A run as an event file of TensorBoard, through TensorBoard's own record writer, and without torch or TensorFlow.

Scalars are float32 there, as TensorBoard has them.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from engines.interop import series
from engines.interop.tables import Tell, about
from engines.runs.record import Record

_FORMAT = "brain.Event:2"  # the first record of every event file


def write(record: Record, folder: Path, tell: Tell) -> None:
    """`events.out.tfevents.….<run>`: scalars of every step and evaluation, settings, figures and samples as text."""
    proto = import_module("tensorboard.compat.proto.event_pb2")
    started = series.first_start(record)
    with open(folder / f"events.out.tfevents.{max(0, int(started)):010d}.{record.run.id}", "wb") as file:
        records = import_module("tensorboard.summary.writer.record_writer").RecordWriter(file)
        records.write(proto.Event(wall_time=started, file_version=_FORMAT).SerializeToString())
        whole = about(record)
        for name in ("settings", "figures"):
            values = [_text(name, json.dumps(whole[name], indent=1))]
            records.write(proto.Event(wall_time=started, summary={"value": values}).SerializeToString())
        for point in series.points(record):
            values = [{"tag": name, "simple_value": value} for name, value in point.numbers.items()]
            if point.sample is not None:
                values.append(_text("sample", point.sample))
            event = proto.Event(wall_time=started + point.t, step=point.step, summary={"value": values})
            records.write(event.SerializeToString())
            tell(point.step)


def _text(tag: str, text: str) -> dict[str, Any]:
    """A value for TensorBoard's text plugin, which takes text for Markdown: indented, it is shown as it is."""
    shown = "".join(f"    {line}" for line in text.splitlines(keepends=True))
    return {
        "tag": tag,
        "metadata": {"plugin_data": {"plugin_name": "text"}},
        "tensor": {"dtype": "DT_STRING", "string_val": [shown.encode("utf-8", "backslashreplace")]},
    }
