import asyncio
import json
import urllib.error
import urllib.request

from device_connect_edge.drivers import rpc


class WebClients:
    def __init__(self, device=None):
        pass

    @rpc()
    async def urllib_get(self, url: str) -> list:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [answer.status, answer.headers["X-Kind"], answer.read().decode()]

    @rpc()
    async def urllib_error(self, url: str) -> list:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError as error:
            return [type(error).__name__, error.code, error.read().decode()]

    @rpc()
    async def urllib_json(self, url: str) -> dict:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    @rpc()
    async def urllib_refused(self, url: str) -> str:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.URLError as error:
            return type(error).__name__

    @rpc()
    async def urllib_impatient(self, url: str, seconds: float) -> str:
        try:
            urllib.request.urlopen(url, timeout=seconds)
        except TimeoutError as error:
            return type(error).__name__

    @rpc()
    async def urllib_in_thread(self, url: str) -> str:
        def read():
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()

        return await asyncio.to_thread(read)

    @rpc()
    async def requests_get(self, url: str) -> list:
        import requests

        answer = requests.get(url, params={"q": "a b"}, timeout=5)
        return [answer.status_code, answer.headers["X-Kind"], answer.text, answer.ok]

    @rpc()
    async def requests_error(self, url: str) -> str:
        import requests

        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.HTTPError as error:
            return f"{type(error).__name__} {error.response.status_code}"

    @rpc()
    async def requests_impatient(self, url: str, seconds: float) -> str:
        import requests

        try:
            requests.get(url, timeout=seconds)
        except requests.Timeout as error:
            return type(error).__name__

    @rpc()
    async def httpx_get(self, url: str) -> list:
        import httpx

        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(url, params={"q": "a b"})
        return [answer.status_code, answer.headers["x-kind"], answer.text]

    @rpc()
    async def httpx_sync(self, url: str) -> list:
        import httpx

        answer = httpx.get(url, timeout=5)
        return [answer.status_code, answer.text]

    @rpc()
    async def httpx_error(self, url: str) -> str:
        import httpx

        try:
            async with httpx.AsyncClient(timeout=5) as client:
                (await client.get(url)).raise_for_status()
        except httpx.HTTPStatusError as error:
            return f"{type(error).__name__} {error.response.status_code}"

    @rpc()
    async def httpx_impatient(self, url: str, seconds: float) -> str:
        import httpx

        try:
            async with httpx.AsyncClient(timeout=seconds) as client:
                await client.get(url)
        except httpx.TimeoutException as error:
            return type(error).__name__

    @rpc()
    async def aiohttp_impatient(self, url: str, seconds: float) -> str:
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
                await answer.text()
        except asyncio.TimeoutError:
            return "TimeoutError"

    @rpc()
    async def aiohttp_get(self, url: str) -> list:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return [answer.status, answer.headers["X-Kind"], await answer.text()]

    @rpc()
    async def httpx_gather(self, url: str, count: int) -> list:
        import httpx

        async with httpx.AsyncClient(timeout=5) as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(count)))
        return [answer.status_code for answer in answers]
