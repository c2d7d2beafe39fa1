"""Are the formats found without a list of them?"""

from pathlib import Path

import pytest

import reports


def test_every_module_is_a_format_that_can_be_written(pair: list[Path], tmp_path: Path) -> None:
    assert {"html", "terminal"} <= set(reports.formats())
    for name in reports.formats():
        reports.write(name, pair[1:], tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0


def test_an_unknown_format_names_the_near_one(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(reports.ReportError, match=r"no report format 'htlm'; there are .*Did you mean html\?"):
        reports.write("htlm", pair, tmp_path / "report")


def test_what_the_package_exports() -> None:
    assert reports.__all__ == ["ReportError", "formats", "write"]
