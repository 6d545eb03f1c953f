"""Debian's Chromium, told by its own protocol what a command line cannot say: headers, cookies, and when to look."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from pathlib import Path
from typing import Any

import aiohttp

from tests.monitoring.conftest import QUIET

SETTLE_S = 6.0  # a page's own scripts ask its server for more


def screenshot(
    chromium: str, profile: Path, url: str, shot: Path, *, headers: dict[str, str], cookies: dict[str, str]
) -> str:
    """Open a page with these headers and cookies, keep how it looks, and return what can be read on it."""
    options = [option for option in QUIET if "virtual-time" not in option]
    command = [
        chromium,
        *options,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        "--window-size=1200,900",
        "about:blank",
    ]
    with (
        (profile.parent / f"{profile.name}.log").open("wb") as said,
        subprocess.Popen(command, stdout=said, stderr=said) as process,
    ):
        try:
            return asyncio.run(_look(profile / "DevToolsActivePort", url, shot, headers, cookies))
        finally:
            process.terminate()


async def _look(port_file: Path, url: str, shot: Path, headers: dict[str, str], cookies: dict[str, str]) -> str:
    for _ in range(300):
        if port_file.exists() and (told := port_file.read_text().split()):
            break
        await asyncio.sleep(0.1)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{told[0]}/json/list") as answer:
            [page] = [one for one in await answer.json() if one["type"] == "page"]
        async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:

            async def tell(method: str, **parameters: Any) -> dict[str, Any]:
                await socket.send_json({"id": 1, "method": method, "params": parameters})
                while True:
                    message = await socket.receive_json(timeout=60)
                    if message.get("id") == 1:
                        assert "error" not in message, message
                        return message["result"]

            await tell("Network.enable")
            await tell("Network.setExtraHTTPHeaders", headers=headers)
            for name, value in cookies.items():
                await tell("Network.setCookie", name=name, value=value, url=url)
            await tell("Page.navigate", url=url)
            await asyncio.sleep(SETTLE_S)
            shot.write_bytes(base64.b64decode((await tell("Page.captureScreenshot"))["data"]))
            read = await tell("Runtime.evaluate", expression="document.body.innerText")
            return str(read["result"]["value"])
