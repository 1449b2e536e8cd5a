"""The server's tokenizer: over its own routes, or from a local folder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard.errors import InputError
from serving.probe.client import Client
from serving.probe.outcome import NotOffered

PIECES = 4  # characters of the longest piece of a random spelling
NO_TOKENIZER = "needs a tokenizer: the server has no /tokenize, give --tokenizer"


@dataclass
class Tokens:
    """Encodes and decodes as the server does."""

    client: Client
    local: Any = None  # a transformers tokenizer
    _chats: dict[str, list[int]] = field(default_factory=dict)
    _texts: dict[str, list[int]] = field(default_factory=dict)
    _absent: bool = False

    async def chat(self, prompt: str) -> list[int]:
        """The ids of a conversation with one user message, up to where the answer begins."""
        if prompt not in self._chats:
            messages = [{"role": "user", "content": prompt}]
            if self.local is None:
                self._chats[prompt] = await self._remote({"messages": messages})
            else:
                text = self.local.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                self._chats[prompt] = self.local.encode(text, add_special_tokens=False)
        return self._chats[prompt]

    async def encode(self, text: str) -> list[int]:
        """The ids of a text, without special ones around it."""
        if text not in self._texts:
            if self.local is None:
                self._texts[text] = await self._remote({"prompt": text, "add_special_tokens": False})
            else:
                self._texts[text] = self.local.encode(text, add_special_tokens=False)
        return self._texts[text]

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        if self.local is not None:
            return str(self.local.decode(list(ids)))
        answer = await self.client.post("/detokenize", {"model": self.client.model, "tokens": list(ids)})
        if not answer.ok or not isinstance(answer.body, dict) or "prompt" not in answer.body:
            raise NotOffered("needs a tokenizer: the server has no /detokenize, give --tokenizer")
        return str(answer.body["prompt"])

    async def after(self, lead: str, secret: str) -> tuple[list[int], list[int]]:
        """Ids of the lead, and of the secret as it stands behind it."""
        begun = await self.encode(lead.rstrip()) if lead.strip() else []
        whole = await self.encode(lead + secret)
        if whole[: len(begun)] == begun:
            return begun, whole[len(begun) :]
        return await self.encode(lead), await self.encode(secret)

    async def spelled(self, lead: str, secret: str, rng: random.Random) -> list[int] | None:
        """Ids that spell the secret in random pieces; None if this cutting does not read back."""
        text = (" " if lead.endswith(" ") else "") + secret
        ids: list[int] = []
        start = 0
        while start < len(text):
            end = start + rng.randint(1, PIECES)
            ids += await self.encode(text[start:end])
            start = end
        return ids if secret in await self.decode(ids) else None

    async def _remote(self, body: dict[str, Any]) -> list[int]:
        if self._absent:
            raise NotOffered(NO_TOKENIZER)
        answer = await self.client.post("/tokenize", {"model": self.client.model, **body})
        found = answer.body.get("tokens") if answer.ok and isinstance(answer.body, dict) else None
        if not isinstance(found, list):
            self._absent = True
            raise NotOffered(NO_TOKENIZER)
        return [int(token) for token in found]


def local_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        InputError: there is none.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no tokenizer ({type(error).__name__})") from None
