"""A headless Chromium that tests drive as a person would, by its DevTools protocol over a pipe."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
QUIET += "--disable-component-update --disable-sync"
HEARING = (
    "--autoplay-policy=no-user-gesture-required --use-fake-device-for-media-stream --use-fake-ui-for-media-stream "
)
HEARING += "--remote-debugging-pipe --hide-scrollbars --mute-audio"


class Browser:
    """One page. As a context manager it ends with the block.

    Attributes:
        requests: addresses that the page asked for, but for those inside it.
        faults: errors of scripts, and what the page's policy forbade.
    """

    def __init__(self, profile: Path, width: int = 1300, height: int = 900):
        (read, self._out), (self._in, write) = os.pipe(), os.pipe()
        call = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", CHROMIUM, *QUIET.split(), *HEARING.split()]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([*call, f"--user-data-dir={profile}"], pass_fds=(read, write), **quiet)
        os.close(read)
        os.close(write)
        self._numbers, self._rest, self._session = itertools.count(1), b"", None
        self.requests, self.faults = [], []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self._ask(f"{domain}.enable")
        self.resize(width, height)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._out)
        self._process.terminate()
        self._process.wait()
        os.close(self._in)

    def resize(self, width: int, height: int) -> None:
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, address: str) -> None:
        self._ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """The value of JavaScript, of its promise if it is one."""
        how = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self._ask("Runtime.evaluate", expression=script, **how)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60):
        """The value of JavaScript as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, (script, self.faults, self.run("document.body.innerText"))
            time.sleep(0.05)
        return value

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into an <input>."""
        root = self._ask("DOM.getDocument")["root"]["nodeId"]
        node = self._ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._ask("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def click(self, selector: str, share: float = 0.5, down: float = 0.5, number: int = 0) -> None:
        """Press on the `number`-th such element, at a share of its width and height, with the mouse."""
        at = f"document.querySelectorAll({json.dumps(selector)})[{number}]"
        self.run(f"{at}.scrollIntoView({{block: 'center'}})")
        left, top, width, height = self.run(f"(b => [b.left, b.top, b.width, b.height])({at}.getBoundingClientRect())")
        mouse = {"x": left + share * width, "y": top + down * height, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, **mouse)

    def picture(self, path: Path, whole: bool = False) -> None:
        found = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _ask(self, method: str, **given):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            content = os.read(self._in, 2**20)
            assert content, "Chromium has ended"
            self._rest += content
        content, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(content)
        if message.get("method") == "Network.requestWillBeSent":
            address = message["params"]["request"]["url"]
            self.requests += [address] if not address.startswith(("data:", "blob:")) else []
        elif message.get("method") == "Runtime.exceptionThrown" or (
            message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error"
        ):
            self.faults.append(message["params"])
        return message
