"""A web server that streams answers to browsers: one AsyncClient serves all requests, each call has its own entry.

    python examples/async_server.py                 asks itself three questions at once, and stops
    uvicorn --app-dir examples async_server:app     goes on serving, at http://127.0.0.1:8000

Expect pieces that arrive one by one, of whatever the small local model has to say:

    Why is the sky blue?  status 200, 24 pieces: "The answer to that question lies in ..."
    What is a cache?      status 200, 24 pieces: 'A cache is a type of digital storage ...'
    Who wrote Faust?      status 200, 24 pieces: 'The novel Faust by Johann Wolfgang von Goethe ...'
    36 tokens in, 24 out; 35 tokens in, 24 out; 34 tokens in, 24 out
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse

from llmsaver import AsyncClient, Saver

PAGE = """<input id=question placeholder="Ask, then press Enter"><pre id=answer style="white-space: pre-wrap"></pre>
<script>question.onchange = async () => {
  const body = (await fetch("/ask?q=" + encodeURIComponent(question.value))).body;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  answer.textContent = "";
  for (let part; !(part = await reader.read()).done;) answer.textContent += part.value;
}</script>"""
saver = Saver()
client = AsyncClient(saver=saver)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the client, and stop the local model, with the server."""
    async with client:
        yield
    saver.close()


app = FastAPI(lifespan=lifespan)


@app.get("/")
def page() -> HTMLResponse:
    """Serve the page that asks."""
    return HTMLResponse(PAGE)


@app.get("/ask")
async def ask(q: str) -> StreamingResponse:
    """Stream the answer's text as it is made; a browser that leaves ends the model's work."""
    chunks = await client.chat.completions.create(
        model="local/smollm2-135m", max_completion_tokens=24, stream=True, messages=[{"role": "user", "content": q}]
    )

    async def text() -> AsyncIterator[str]:
        async with chunks:
            async for chunk in chunks:
                yield chunk.choices[0].delta.content or ""

    entry = chunks.response.headers["x-llmsaver-entry"]
    return StreamingResponse(text(), media_type="text/plain", headers={"x-llmsaver-entry": entry})


async def question(http: httpx2.AsyncClient, q: str) -> str:
    """Ask as a browser would; return what is known about the call once its answer has arrived."""
    async with http.stream("GET", "/ask", params={"q": q}) as answer:
        pieces = [piece async for piece in answer.aiter_text()]
    print(f"{q:21} status {answer.status_code}, {len(pieces)} pieces: {''.join(pieces)!r}")
    entry = saver.entry(answer.headers["x-llmsaver-entry"])
    return f"{entry.usage.input_tokens} tokens in, {entry.usage.output_tokens} out" if entry and entry.usage else "lost"


async def main() -> None:
    """Serve on a free port, ask three questions at once, and stop."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    here = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=here, timeout=120, trust_env=False) as http:
        asked = ("Why is the sky blue?", "What is a cache?", "Who wrote Faust?")
        print("; ".join(await asyncio.gather(*(question(http, q) for q in asked))))
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
