"""Archives that tests make, also split ones, and a server on loopback that has them."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile
import yaml
from conftest import ROOT
from data_fixtures import tone
from http_fixtures import Handler, Server


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def split(content: bytes, size: int, zip64: bool = False) -> list[bytes]:
    """A zip as PKWARE splits one, into parts of `size` bytes: a mark in front, and in its directory the number of the part
    that a file begins in, and where in that part. zip64: both in the extra field that ZIP64 has for large numbers."""
    end = content.rindex(b"PK\5\6")
    count, _, begin = struct.unpack("<H2L", content[end + 10 : end + 20])
    place = lambda at: divmod(at, size)  # of a byte of the whole, mark included
    data, directory, at = b"PK\7\x08" + content[:begin], b"", begin
    for _ in range(count):
        fields = list(struct.unpack("<4s4B4HL2L5H2L", content[at : at + 46]))
        name = content[at + 46 : at + 46 + fields[12]]
        disk, offset = place(fields[18] + 4)
        extra = b""
        if zip64:
            # Of another kind first: its order is free.
            extra = struct.pack("<HHL", 0x9999, 4, 7)
            extra += struct.pack("<HH2QQL", 1, 28, fields[11], fields[10], offset, disk)
            fields[10] = fields[11] = offset = 0xFFFFFFFF
            disk = 0xFFFF
        at += 46 + fields[12] + fields[13] + fields[14]
        fields[13], fields[14], fields[15], fields[18] = len(extra), 0, disk, offset
        directory += struct.pack("<4s4B4HL2L5H2L", *fields) + name + extra
    start, offset = place(len(data))
    whole = data + directory
    if zip64:
        last, record = place(len(whole))
        tail = 56 + 20 + 22
        parts = -(-(len(whole) + tail) // size)
        whole += struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, parts - 1, start, count, count, len(directory), offset
        )
        whole += struct.pack("<4sLQL", b"PK\6\7", last, record, parts)
        whole += struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)
    else:
        last = (len(whole) + 21) // size
        whole += struct.pack("<4s4H2LH", b"PK\5\6", last, start, count, count, len(directory), offset, 0)
    return [whole[i : i + size] for i in range(0, len(whole), size)]


def named(stem: str, parts: list[bytes]) -> dict[str, bytes]:
    """The parts of a split zip by their names."""
    names = [f"{stem}.z{number:02d}" for number in range(1, len(parts))] + [f"{stem}.zip"]
    return dict(zip(names, parts, strict=True))


def wav(seed: int, seconds: float = 1.0, rate: int = 16000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, tone(seconds, rate, 1, seed=seed)[0], rate, format="WAV")
    return out.getvalue()


def noise(seed: int, size: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Shelf(Server):
    """Serves `files` by name, with ranges, as its other fields tell it to misbehave."""

    def __init__(self, *given):
        super().__init__(*given)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, name, range
        self.heads = self.ranges = True
        self.sizes: dict[str, int] = {}  # that HEAD tells in place of the true ones
        self.corrupt: dict[str, int] = {}  # how often a file comes with another byte in it
        self.cuts: dict[str, list[int]] = {}  # after how many bytes answers break off

    def place(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}?download=1"

    def fetched(self) -> list[str]:
        """The names that were asked for since the last call, without questions for their size."""
        names = [name for method, name, _ in self.asked if method == "GET"]
        self.asked.clear()
        return names


class OnShelf(Handler):
    def do_HEAD(self):
        shelf, name = self.look("HEAD")
        if not shelf.heads:
            return self.head(501, {"Content-Length": 0})
        if name not in shelf.files:
            return self.head(404, {"Content-Length": 0})
        return self.head(200, {"Content-Length": shelf.sizes.get(name, len(shelf.files[name]))})

    def do_GET(self):
        shelf, name = self.look("GET")
        content = shelf.files.get(name)
        if content is None:
            return self.head(404, {"Content-Length": 0})
        if shelf.corrupt.get(name, 0):
            shelf.corrupt[name] -= 1
            content = content[:50] + bytes([content[50] ^ 1]) + content[51:]
        asked = self.headers.get("Range")
        start = int(asked.split("=")[1][:-1]) if asked and shelf.ranges else 0
        headers = {"Content-Type": "application/octet-stream", "ETag": '"one"', "Content-Length": len(content) - start}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.head(206 if start else 200, headers)
        body = content[start:]
        if cuts := shelf.cuts.get(name):
            body = body[: cuts.pop(0)]
            self.close_connection = True
        return self.wfile.write(body)

    def look(self, method: str) -> tuple[Shelf, str]:
        name = unquote(urlsplit(self.path).path.lstrip("/"))
        self.server.asked.append((method, name, self.headers.get("Range")))
        return self.server, name


def corpus_project(
    root: Path, source: dict, classes: int, splits: dict[str, int], shard_size: int, *roles: str
) -> None:
    """params.yaml of a dataset `tiny` of a published corpus. roles: the split to train on, and the one to evaluate on."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = {
        "tiny": params["datasets"]["mini"] | {
            "source": source, "metadata": None, "classes": classes, "shard_size": shard_size, "splits": splits,
            "train": [roles[0]], "evaluate": [roles[1]],
        }
    }  # fmt: skip
    params |= {"dataset": "tiny", "backbones": ["cnn10"]}
    params["audio"] |= {"sample_rate": 16000, "clip_seconds": 2.0}
    params["glat"] |= {"n": 2, "tau": 1.0}
    params["fig2"] |= {"n": [1, 2], "tau": [1]}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
