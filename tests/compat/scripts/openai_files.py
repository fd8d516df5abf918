"""openai: transcriptions of whole files. `options.response_format`, `options.stream`; `facts` holds the answer."""

from __future__ import annotations

import openai
from task import Found, Task, report, the_task


def run(task: Task, found: Found) -> None:
    client = openai.OpenAI(api_key=task.key, base_url=f"{task.url}/v1", max_retries=0)
    if task.options.get("models"):
        found.facts["models"] = [model.id for model in client.models.list()]
    wish = {name: task.options[name] for name in ("response_format", "timestamp_granularities") if name in task.options}
    with open(task.audio, "rb") as file:
        if task.options.get("stream"):
            for event in client.audio.transcriptions.create(model="whisper-1", file=file, stream=True, **wish):
                found.events.append(event.type)
                if event.type == "transcript.text.delta":
                    found.interims.append(event.delta)
                else:
                    found.finals.append({"text": event.text})
            return
        answer = client.audio.transcriptions.create(model="whisper-1", file=file, **wish)
    found.facts["kind"] = type(answer).__name__
    if isinstance(answer, str):
        found.finals.append({"text": answer})
        return
    found.finals.append({"text": answer.text})
    found.facts |= answer.model_dump()


if __name__ == "__main__":
    found = Found()
    try:
        run(the_task(), found)
    except openai.APIError as error:
        found.errors.append(f"{type(error).__name__} {getattr(error, 'status_code', '')}: {error}")
    report(found)
