"""Policy files: what they may say, and what is refused, by file and key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ktstr import resources
from ktstr.errors import InputError
from ktstr.stats.compare.policy import Policy, load_policy, uniform

SCHEMA = Draft202012Validator(json.loads(resources.schema("policy").read_text()))


@dataclass(frozen=True)
class Refused:
    text: str
    says: str
    schema_takes_it: bool = False


def load(folder: Path, text: str) -> Policy:
    (folder / "p.json").write_text(text)
    return load_policy(folder / "p.json")


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("{}", Policy()),
        ('{"default_percent": null}', Policy()),
        ('{"default_percent": 10.0}', Policy(default_percent=10.0)),
        ('{"per_metric_percent": {"worst_spread": 5}}', Policy(per_metric_percent={"worst_spread": 5})),
        (
            '{"default_percent": 0, "per_metric_percent": {"worst_gap_ms": 2.5}}',
            Policy(default_percent=0, per_metric_percent={"worst_gap_ms": 2.5}),
        ),
    ],
)
def test_a_policy_may_be_partial(tmp_path: Path, text: str, policy: Policy) -> None:
    assert load(tmp_path, text) == policy
    SCHEMA.validate(json.loads(text))


@pytest.mark.parametrize(
    "refused",
    [
        Refused('{"default_percnt": 5}', r"policy\.default_percnt: unknown field"),
        Refused('{"per_metric_percent": {"worst_sprad": 5}}', r"worst_sprad: found no such .* 'worst_spread'", True),
        Refused('{"default_percent": -1}', r"policy\.default_percent: found -1"),
        Refused('{"per_metric_percent": {"worst_spread": -0.5}}', r"per_metric_percent\.worst_spread: found -0\.5"),
        Refused('{"default_percent": "5"}', r"policy\.default_percent: found '5'"),
        Refused('{"default_percent": true}', r"policy\.default_percent: found True"),
        Refused('{"per_metric_percent": {"worst_spread": null}}', r"per_metric_percent\.worst_spread: found None"),
        Refused('{"per_metric_percent": {"worst_spread": true}}', r"per_metric_percent\.worst_spread: found True"),
        Refused('{"per_metric_percent": []}', r"policy\.per_metric_percent: found \[\]"),
        Refused('{"per_metric_percent": null}', r"policy\.per_metric_percent: found None"),
    ],
    ids=lambda refused: refused.text,
)
def test_what_is_wrong_is_named_by_file_and_key(tmp_path: Path, refused: Refused) -> None:
    with pytest.raises(InputError, match=refused.says) as caught:
        load(tmp_path, refused.text)
    assert str(tmp_path / "p.json") in str(caught.value)
    assert SCHEMA.is_valid(json.loads(refused.text)) is refused.schema_takes_it


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "5", '{"default_percent": NaN}', '{"default_percent": 1e999}', "[" * 5000),
        *('{"default_percent": 1, "default_percent": 2}', '{"a": ' * 200 + "1" + "}" * 200, "\ufeff{}"),
    ],
)
def test_what_is_no_json_object_is_named_by_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "p.json") in str(caught.value)


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as caught:
            load_policy(path)
        assert str(path) in str(caught.value)


def test_an_unknown_metric_is_answered_with_all_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, '{"per_metric_percent": {"zzz": 1}}')
    assert "worst_spread, worst_gap_ms, total_migrations" in str(caught.value)


@pytest.mark.parametrize("percent", [-1.0, float("nan"), float("inf")])
def test_one_limit_for_all_is_a_percentage(percent: float) -> None:
    assert uniform(5) == Policy(default_percent=5)
    with pytest.raises(InputError, match="threshold="):
        uniform(percent)
