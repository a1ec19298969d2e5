"""`explain.html`: one self-contained file with an episode to step through, and the measures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helmsight.envs.parking.vehicle import EGO
from helmsight.eval.explain.film import smoothed
from helmsight.eval.explain.maps import NOTES, TITLES
from helmsight.eval.explain.summary import MeasureSummary
from helmsight.eval.explain.tables import measure_sections
from helmsight.eval.explain.view import Explained
from helmsight.eval.folder_log import write_atomically
from helmsight.eval.report import fill_template, page_file, policy_said, provenance_list

SALIENCY_SIDE = 32
LABEL_SIDE = 100
# RGBA of background, obstacle and target slot over the dark ground of the picture.
LABEL_COLOURS = ((0, 0, 0, 0), (86, 98, 114, 255), (0, 79, 58, 255))
TARGET = slice(5, 8)  # of observation.state
FOOTER = (
    "Intervals are at 95 % confidence, Student's t between episodes, since the moments of one "
    "episode are not independent; n counts moments. Arrow keys step, the space bar plays."
)


@dataclass(frozen=True)
class PageContent:
    """What a page is made from: an episode, measures, or both."""

    explained: Explained | None
    measures: MeasureSummary | None
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


def write_page(path: Path, content: PageContent) -> None:
    """Write the page as one HTML file that asks the network for nothing."""
    parts = {
        "title": escape(_title(content)),
        "lead": _lead(content),
        "notes": "".join(f'<p class="warning">{escape(note)}</p>' for note in content.notes),
        "player_hidden": "" if content.explained is not None else "hidden",
        "measures": "" if content.measures is None else measure_sections(content.measures),
        "glossary": _glossary(content),
        "command": escape(str(content.provenance.get("command", ""))),
        "provenance": provenance_list(content.provenance),
        "footer": escape(FOOTER),
        "data": _json(None if content.explained is None else player_data(content.explained)),
        "style": page_file("report.css") + _own_file("explain.css"),
        "script": _own_file("explain.js"),
    }
    write_atomically(path, fill_template(_own_file("explain.html"), parts))


def player_data(explained: Explained) -> dict[str, Any]:
    """What the page's script draws from; maps as bytes, 255 the largest of each map at a moment."""
    frames = explained.recording.frames
    maps = np.stack(list(explained.maps.values()), axis=1)  # [T, M, N]
    states = [frame.observation.get("observation.state") for frame in frames]
    known = [np.asarray(state) for state in states if state is not None]
    grid = explained.grid
    drives = grid is not None and len(known) == len(frames)
    has_target = drives and all(len(state) >= TARGET.stop for state in known)
    return {
        "times": [round(time, 3) for time in explained.times],
        "cells": maps.shape[2],
        "size": 0 if grid is None else grid.size,
        "extent": 0.0 if grid is None else grid.extent,
        "car": {"front": EGO.front, "rear": EGO.rear, "width": EGO.width},
        "maps": [
            {"id": name, "title": TITLES[name], "note": NOTES[name]} for name in explained.maps
        ],
        "tokens": _packed(maps),
        "peaks": maps.max(axis=2).round(5).tolist(),
        "cameras": [key.rpartition(".")[2].replace("_", " ") for key in explained.image_keys],
        "pictures": _pictures(explained),
        "cameraMaps": _layer(explained.camera_maps),
        "saliency": _layer(_reduced(explained.saliency)),
        "labels": _labels(explained),
        "driven": explained.recording.driven,
        "actionNames": list(explained.action_names),
        "actions": np.stack([frame.action for frame in frames]).round(4).tolist(),
        "policyActions": explained.actions.round(4).tolist(),
        "speed": [round(float(state[0]), 3) for state in known] if has_target else [],
        "targets": [_rounded(state[TARGET]) for state in known] if has_target else [],
        "waypoints": [] if explained.waypoints is None else explained.waypoints.round(3).tolist(),
        "agreement": {
            name: [round(float(value), 4) if np.isfinite(value) else None for value in values]
            for name, values in explained.agreement.items()
        },
    }


def _pictures(explained: Explained) -> list[str]:
    """All camera images of each moment side by side, as data URIs."""
    if not explained.image_keys:
        return []
    rows = [
        np.concatenate([np.asarray(frame.observation[key]) for key in explained.image_keys], axis=1)
        for frame in explained.recording.frames
    ]
    return [_data_uri(".jpg", row[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82]) for row in rows]


def _labels(explained: Explained) -> list[str]:
    """The semantic label of each moment in its colours; empty where one of them has none."""
    labels = [frame.label for frame in explained.recording.frames]
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        return []
    colours = np.array(LABEL_COLOURS, np.uint8)[:, [2, 1, 0, 3]]
    return [_data_uri(".png", colours[_coarse(label)], []) for label in known]


def _coarse(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = (LABEL_SIDE, LABEL_SIDE)
    return np.asarray(cv2.resize(label, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _reduced(saliency: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """Saliency [T, C, H, W], smoothed and at most SALIENCY_SIDE pixels high and wide."""
    if saliency is None:
        return None
    height, width = (min(side, SALIENCY_SIDE) for side in saliency.shape[2:])
    pictures = [
        cv2.resize(smoothed(picture), (width, height), interpolation=cv2.INTER_AREA)
        for picture in saliency.reshape(-1, *saliency.shape[2:])
    ]
    return np.stack(pictures).reshape(*saliency.shape[:2], height, width).astype(np.float32)


def _layer(values: NDArray[np.float32] | None) -> dict[str, Any] | None:
    """A layer [T, C, ..., h, w] over the cameras; a moment's cameras share one scale."""
    if values is None:
        return None
    height, width = values.shape[-2:]
    # A map's largest value over all cameras: what one camera does not show stays dark there.
    largest = values.max(axis=(1, -2, -1), keepdims=True)
    scaled = np.divide(values, largest, out=np.zeros_like(values), where=largest > 0.0)
    return {"width": width, "height": height, "values": _bytes(scaled)}


def _packed(maps: NDArray[np.float32]) -> str:
    """Maps [T, M, N] as bytes, 255 the largest value of each."""
    largest = maps.max(axis=2, keepdims=True)
    return _bytes(np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0.0))


def _bytes(values: NDArray[np.float32]) -> str:
    """Values in [0, 1] as base64 of one byte each."""
    return base64.b64encode(np.clip(values * 255.0, 0, 255).round().astype(np.uint8)).decode()


def _data_uri(kind: str, image: NDArray[np.uint8], options: list[int]) -> str:
    done, data = cv2.imencode(kind, image, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a picture as {kind}")
    mime = {".jpg": "image/jpeg", ".png": "image/png"}[kind]
    return f"data:{mime};base64,{base64.b64encode(data.tobytes()).decode()}"


def _json(data: Any) -> str:
    """JSON that no script element ends early."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _own_file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _title(content: PageContent) -> str:
    if content.explained is not None:
        return f"What the policy looks at, episode {content.explained.recording.name}"
    return "Is what the policy looks at what drives it?"


def _lead(content: PageContent) -> str:
    origin = content.provenance
    said = policy_said(origin)
    facts = []
    if content.explained is not None:
        recording = content.explained.recording
        facts.append("driven by the policy" if recording.driven else "recorded; the policy watches")
        if recording.outcome:
            facts.append(f"outcome {recording.outcome}")
    if content.measures is not None:
        facts.append(
            f"{content.measures.moments} moments of {content.measures.episodes} episodes measured"
        )
    line = ", ".join(facts)
    return f"{' '.join(said)}. {escape(line[:1].upper() + line[1:])}."


def _glossary(content: PageContent) -> str:
    names = set() if content.explained is None else set(content.explained.maps)
    if content.measures is not None:
        names |= {name for maps in content.measures.means.values() for name in maps}
    rows = "".join(
        f"<dt>{escape(TITLES[name])}</dt><dd>{escape(note)}</dd>"
        for name, note in NOTES.items()
        if name in names
    )
    return f'<dl class="glossary">{rows}</dl>'
