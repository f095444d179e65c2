"""The file of a card comes from the first place that has it, is checked, and never half there."""

import dataclasses
import hashlib
import sys
from pathlib import Path

import pytest
from fixtures import fake_hub
from fixtures.file_server import serving

from jaxseg.errors import UserError
from jaxseg.weights import card as cards
from jaxseg.weights import fetching
from jaxseg.weights.card import Card

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """An empty cache, no folder, and pauses that are noted instead of made."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(fetching.VARIABLE, raising=False)
    made: list[float] = []
    monkeypatch.setattr(fetching.time, "sleep", made.append)
    return made


def of(address: str, sha256: str = DIGEST) -> Card:
    known = cards.card("imagenet-torchvision-resnet18")
    return dataclasses.replace(known, address=address, sha256=sha256)


def file_in(folder: Path, name: str = "net.pth", content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_a_file_that_is_given_is_compared_with_the_digits_that_are_known(
    tmp_path: Path, digits: int
) -> None:
    card = of("https://a.example/net.pth", DIGEST[:digits])
    file = file_in(tmp_path, "anything.pth")
    assert fetching.fetched(card, str(file)) == file
    file.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match=f"card begins with {DIGEST[: min(digits, 12)]}"):
        fetching.fetched(card, str(file))
    with pytest.raises(UserError, match="No file"):
        fetching.fetched(card, str(tmp_path / "none.pth"))


def test_without_a_published_checksum_the_files_own_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_in(tmp_path)
    assert fetching.fetched(of("https://a.example/net.pth", ""), str(file)) == file
    said = " ".join(capsys.readouterr().out.split())
    assert "no checksum of imagenet-torchvision-resnet18 is published" in said
    assert f"has the SHA-256 {DIGEST}" in said


def test_a_folder_of_the_user_comes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = of("https://a.example/net.pth")
    cached = file_in(tmp_path / "cache/jaxseg/weights/imagenet-torchvision-resnet18")
    assert fetching.fetched(card) == cached
    monkeypatch.setenv(fetching.VARIABLE, str(tmp_path / "own"))
    assert fetching.fetched(card) == cached
    own = file_in(tmp_path / "own")
    assert fetching.fetched(card) == own


def test_a_file_is_downloaded_once(
    tmp_path: Path, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    file_in(tmp_path / "served")
    with serving(tmp_path / "served") as address:
        card = of(f"{address}/net.pth")
        file = fetching.fetched(card)
    assert f"downloading {address}/net.pth" in capsys.readouterr().out
    assert file == tmp_path / "cache/jaxseg/weights/imagenet-torchvision-resnet18/net.pth"
    assert file.read_bytes() == CONTENT
    assert fetching.fetched(card) == file  # the server is gone
    assert not waits


def test_another_file_at_the_address_is_not_kept(tmp_path: Path, waits: list[float]) -> None:
    file_in(tmp_path / "served", content=b"<html>")
    with (
        serving(tmp_path / "served") as address,
        pytest.raises(UserError, match=r"What was downloaded is not .* --config.pretrained.path"),
    ):
        fetching.fetched(of(f"{address}/net.pth"))
    assert not list((tmp_path / "cache").rglob("*.*"))
    assert not waits


def test_what_is_not_there_is_asked_for_once_and_what_is_silent_three_times(
    tmp_path: Path, waits: list[float]
) -> None:
    with serving(tmp_path) as address:
        with pytest.raises(UserError, match=r"cannot be downloaded from .*404"):
            fetching.fetched(of(f"{address}/net.pth"))
        assert not waits
    with pytest.raises(UserError, match="Connection refused") as error:
        fetching.fetched(of(f"{address}/net.pth"))
    assert waits == list(fetching.WAITS)
    assert f"take net.pth from {address}/net.pth on another machine" in str(error.value)
    assert "JAXSEG_WEIGHTS=FOLDER" in str(error.value)


HUB = "https://huggingface.co/owner/name/resolve/abc123/folder/net.pth"


def test_a_file_of_the_hub_comes_at_its_revision_after_errors_that_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    hub = fake_hub.installed(monkeypatch, tmp_path / "hub")
    hub.add(HUB, file_in(tmp_path))
    hub.failures = [fake_hub.HubError("busy", 503), fake_hub.HubError("busy", 502)]
    file = fetching.fetched(of(HUB))
    assert file == tmp_path / "hub/owner/name/abc123/folder/net.pth"
    assert waits == list(fetching.WAITS)
    with pytest.raises(UserError, match="is not the file of"):
        fetching.fetched(of(HUB, "0" * 64))


def test_the_hubs_last_words_end_in_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = fake_hub.installed(monkeypatch, tmp_path)
    hub.failures = [fake_hub.HubError("401 Unauthorized", 401)]
    with pytest.raises(UserError, match=r"401 Unauthorized\. .*--config\.pretrained\.path"):
        fetching.fetched(of(HUB))
    assert hub.asked == 1
    for error in (
        fake_hub.UnreachableError,
        fake_hub.TransportError,
    ):  # the library has repeated it
        hub.failures = [error("no route\nand more")]
        with pytest.raises(UserError, match=r"no route\. "):
            fetching.fetched(of(HUB))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[hub\]'.*JAXSEG_WEIGHTS"):
        fetching.fetched(of(HUB))


def test_a_file_of_a_package_is_found_where_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = dataclasses.replace(of("pypi:some-package/some_package_x/net.pth"), revision="1.2")
    with pytest.raises(UserError, match=r"pip install some-package==1\.2"):
        fetching.fetched(card)
    file = file_in(tmp_path / "site/some_package_x")
    (file.parent / "__init__.py").write_text("raise RuntimeError('it is not imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert fetching.fetched(card) == file
