"""Downloads over a bad network, against a server on this machine; zips that want out of their folder."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from monolayer.data.sources import fetch as module
from monolayer.data.sources.fetch import Remote, fetch, open_zip, read_member
from monolayer.files import InputError
from monolayer.params.data import Pin
from web import Web

CONTENT = np.random.default_rng(0).integers(0, 256, 5_000_000, np.uint8).tobytes()
SUM = hashlib.sha256(CONTENT).hexdigest()
NO_PIN = Pin(size=None, sha256=None)
PIN = Pin(size=len(CONTENT), sha256=SUM)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS", (0, 0))


@pytest.fixture
def target(tmp_path: Path, web: Web) -> Path:
    web.files["/big.bin"] = CONTENT
    return tmp_path / "big.bin"


def remote(web: Web, pin: Pin = PIN, path: str = "/big.bin") -> Remote:
    return Remote(web.url + path, "the big file", pin, lambda found: f"big.bin: {{sha256: {found.sha256}}}")


def left(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


@pytest.mark.parametrize("etag", ["strong", "weak", None])
@pytest.mark.parametrize("pin", [PIN, NO_PIN])
def test_whole_file(web: Web, target: Path, etag: str | None, pin: Pin) -> None:
    web.etag = etag
    fetch(remote(web, pin), target)
    assert target.read_bytes() == CONTENT
    assert left(target) == {"big.bin", "pins.json"}
    fetch(remote(web, pin), target)
    assert len(web.requests) == 1  # what is there and verified is not fetched again


def test_cut_again_and_again_it_goes_on_where_it_was(web: Web, target: Path) -> None:
    web.cut_after = 1_200_000
    fetch(remote(web), target)
    assert target.read_bytes() == CONTENT
    assert [span for _, span in web.requests] == [None, *(f"bytes={n}00000-" for n in (12, 24, 36, 48))]


def begun(target: Path, content: bytes, validator: str | None) -> None:
    """What a killed download leaves."""
    target.with_name("big.bin.partial").write_bytes(content)
    target.with_name("big.bin.partial.json").write_text(json.dumps({"validator": validator}))


def test_a_killed_process_leaves_what_came(web: Web, target: Path) -> None:
    web.stall_after = 3_000_000
    program = (
        "from pathlib import Path; from monolayer.params.data import Pin;"
        "from monolayer.data.sources.fetch import Remote, fetch;"
        f"fetch(Remote('{web.url}/big.bin', 'it', Pin(size=None, sha256=None), str), Path('{target}'))"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    assert web.stalled.wait(60)
    partial = target.with_name("big.bin.partial")
    while not partial.exists() or partial.stat().st_size < 2_000_000:
        time.sleep(0.01)
    process.kill()
    process.wait()
    came = partial.stat().st_size
    web.stall_after = None
    fetch(remote(web, NO_PIN), target)
    assert target.read_bytes() == CONTENT
    assert web.requests == [("/big.bin", None), ("/big.bin", f"bytes={came}-")]


@pytest.mark.parametrize("pin", [PIN, NO_PIN])
def test_killed_and_called_again_it_goes_on(web: Web, target: Path, pin: Pin) -> None:
    begun(target, CONTENT[:4_000_000], web.tag(CONTENT))
    fetch(remote(web, pin), target)
    assert target.read_bytes() == CONTENT
    assert web.requests == [("/big.bin", "bytes=4000000-")]


def test_what_came_is_kept_when_it_gives_up(web: Web, target: Path) -> None:
    web.cut_after = 0
    begun(target, CONTENT[:4_000_000], web.tag(CONTENT))
    with pytest.raises(InputError, match=r"can't be fetched \(.*\); 4000000 bytes are kept in .*big\.bin\.partial"):
        fetch(remote(web), target)
    web.cut_after = None
    fetch(remote(web), target)
    assert target.read_bytes() == CONTENT
    assert web.requests[-1][1] == "bytes=4000000-"


def test_a_server_without_ranges_starts_over(web: Web, target: Path) -> None:
    web.cut_after, web.ranges = 2_000_000, False
    with pytest.raises(InputError, match="can't be fetched"):
        fetch(remote(web), target)
    web.cut_after = None
    fetch(remote(web), target)
    assert target.read_bytes() == CONTENT


def test_a_changed_file_starts_over(web: Web, target: Path) -> None:
    begun(target, bytes(1_000_000), '"of another version"')
    fetch(remote(web, NO_PIN), target)
    assert web.requests == [("/big.bin", "bytes=1000000-")]
    assert target.read_bytes() == CONTENT


def test_bytes_of_an_old_version_are_gone_before_a_new_one_begins(
    web: Web, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the new one breaks at once: else the next call would go on behind the old bytes."""
    begun(target, bytes(1_000_000), '"of another version"')
    with monkeypatch.context() as patch:
        patch.setattr(module, "_save", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch(remote(web, NO_PIN), target)
    fetch(remote(web, NO_PIN), target)
    assert target.read_bytes() == CONTENT


def test_without_validator_and_pin_nothing_is_resumed(web: Web, target: Path) -> None:
    web.etag = None
    target.with_name("big.bin.partial").write_bytes(bytes(1_000_000))
    fetch(remote(web, NO_PIN), target)
    assert web.requests == [("/big.bin", None)]
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_is_taken(web: Web, target: Path) -> None:
    target.with_name("big.bin.partial").write_bytes(CONTENT)
    fetch(remote(web), target)  # answered by 416
    assert web.requests == [("/big.bin", "bytes=5000000-")]
    assert target.read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_starts_over(web: Web, target: Path) -> None:
    target.with_name("big.bin.partial").write_bytes(CONTENT + b"more")
    fetch(remote(web), target)
    assert [span for _, span in web.requests] == ["bytes=5000004-", None]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("pin", "message"),
    [
        (Pin(size=7, sha256=None), "the big file has 5000000 bytes, 7 were expected; delete"),
        (Pin(size=None, sha256="0" * 64), f"has the sha256 {SUM}, {'0' * 64} was expected"),
    ],
)
def test_other_bytes_than_pinned_are_refused(web: Web, target: Path, pin: Pin, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch(remote(web, pin), target)
    assert left(target) == set()  # so that the next call begins anew
    target.write_bytes(CONTENT)
    with pytest.raises(InputError, match=message):
        fetch(remote(web, pin), target)


def test_the_first_download_is_the_pin_of_later_calls(web: Web, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fetch(remote(web, NO_PIN), target)
    assert f"big.bin: {{sha256: {SUM}}}" in caplog.text
    target.write_bytes(CONTENT[:-1] + b"x" if CONTENT[-1:] != b"x" else CONTENT[:-1] + b"y")
    with pytest.raises(InputError, match=f"{SUM} was expected"):
        fetch(remote(web, NO_PIN), target)
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match="has 4999999 bytes, 5000000 were expected"):
        fetch(remote(web, NO_PIN), target)


def test_what_the_server_refuses_is_not_tried_again(web: Web, target: Path) -> None:
    with pytest.raises(InputError, match="the server answers 404 Not Found; check its address"):
        fetch(remote(web, path="/other"), target)
    assert len(web.requests) == 1


def test_a_busy_server_is_asked_again(web: Web, target: Path) -> None:
    states = iter([503, 429])

    def busy() -> tuple[int, bytes]:
        status = next(states)
        if status == 429:
            del web.answers["/big.bin"]
        return status, b""

    web.answers["/big.bin"] = busy
    fetch(remote(web), target)
    assert target.read_bytes() == CONTENT
    web.answers["/down"] = lambda: (503, b"")
    with pytest.raises(InputError, match=r"can't be fetched \(the server answers 503 Service Unavailable\)"):
        fetch(remote(web, path="/down"), target.with_name("down"))


def test_no_network_keeps_the_url_to_itself(target: Path) -> None:
    """A URL may hold a key: neither the text of the error nor its cause shows it."""
    with pytest.raises(
        InputError, match=r"the big file can't be fetched \(ConnectionError\); 0 bytes are kept"
    ) as error:
        fetch(Remote("http://127.0.0.1:9/x?api_key=SECRET", "the big file", NO_PIN, str), target)
    assert "SECRET" not in str(error.value)
    assert error.value.__suppress_context__
    with pytest.raises(InputError, match="the big file is no address to fetch from"):
        fetch(Remote("ftp:/SECRET", "the big file", NO_PIN, str), target)


def test_a_full_disk_is_seen_before(web: Web, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4_000_000))
    with pytest.raises(InputError, match=r"the big file needs 0\.01 GB in .*, where 0\.00 GB are free; make space"):
        fetch(remote(web), target)
    target.with_name("big.bin.partial").write_bytes(CONTENT[:2_000_000])  # what is there needs no more space
    fetch(remote(web), target)
    assert target.read_bytes() == CONTENT


# ---- zips ----------------------------------------------------------------------------------------


def zipped(path: Path, name: str, content: bytes = b"x", mode: int = 0) -> Path:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "..\\x"])
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of the folder; this is not the archive that it should be"):
        open_zip(zipped(tmp_path / "a.zip", name), "a.zip")


def test_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its member 'x' is a link or a device"):
        open_zip(zipped(tmp_path / "a.zip", "x", b"/etc/passwd", stat.S_IFLNK | 0o777), "a.zip")


def test_sizes_that_can_not_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", "x", bytes(3_000_000))
    assert read_member(open_zip(path, "a.zip"), "x") == bytes(3_000_000)
    monkeypatch.setattr(module, "MEMBER_LIMIT", 2_000_000)
    with pytest.raises(InputError, match="claims 3000000 bytes from"):
        open_zip(path, "a.zip")


def test_damaged_zips_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", "x", CONTENT[:1000])
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    with pytest.raises(InputError, match=r"a\.zip is no readable zip"):
        open_zip(path, "a.zip")
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 1]) + whole[301:])
    with pytest.raises(InputError, match="its member x is damaged"):
        read_member(open_zip(path, "a.zip"), "x")
