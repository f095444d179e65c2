"""`jaxseg weights` lists published weights within 80 columns, and shows a card whole."""

from pathlib import Path

import pytest

from jaxseg.cli.commands import runs
from jaxseg.weights import card as cards
from jaxseg.weights import fetching


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(fetching.VARIABLE, raising=False)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    runs.weights(list(arguments))
    return capsys.readouterr().out


def test_all_weights_are_listed_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    first = [line.split()[0] for line in lines if line.strip()]
    assert [name for name in first if name in cards.names()] == cards.names()
    assert any(line.split() == ["ftw-prue-b3-ccby", "network", "8", "CC-BY-4.0"] for line in lines)


def test_a_part_of_names_lists_those(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "PRITHVI")
    assert out.count("prithvi-eo-v2") == 4
    assert "ftw" not in out
    with pytest.raises(SystemExit):
        runs.weights(["nosuchname"])
    assert "No weights are called 'nosuchname'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ssl4eo-l-resnet18-tm-toa-moco", "ftw-prue-b5-full"])
def test_a_card_is_shown_whole(capsys: pytest.CaptureFixture[str], name: str) -> None:
    out, card = shown(capsys, name), cards.card(name)
    for fact in (card.title, card.address, card.licence, card.citation, card.scaling, card.source):
        assert fact in out
    for band in card.bands:
        assert band in out
    checksum = {"": "not stated: the file is used with a warning"}
    assert checksum.get(card.sha256, f"begins with {card.sha256}") in out
    assert "file here:  none" in out


def test_a_file_that_is_here_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = cards.card("imagenet-torchvision-resnet18")
    (tmp_path / card.file).touch()
    monkeypatch.setenv(fetching.VARIABLE, str(tmp_path))
    assert f"file here:  {tmp_path / card.file}" in shown(capsys, card.name)
