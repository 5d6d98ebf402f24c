"""YAML that says one thing."""

import pytest
import yaml

from attrition import strict_yaml


@pytest.mark.parametrize("text", ["a: 1\na: 2", "0: a\n0: b", "x: {'': 1, '': 2}", "- {no: 1, false: 2}"])
def test_a_key_that_stands_twice_is_an_error_whatever_it_is(text):
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        strict_yaml.load(text)


def test_what_two_sections_share_is_written_once_and_either_may_say_otherwise():
    shared = "usual: &usual {medium: 0.3, high: 0.6}\nbands: {<<: *usual, high: 0.5}"
    assert strict_yaml.load(shared)["bands"] == {"medium": 0.3, "high": 0.5}
