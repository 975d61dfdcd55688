"""Images are bounded by their size in pixels, whatever the file's."""

import base64
import struct

import pytest

from llmsaver.pricing.media import audio_tokens, data_url, image_size, image_tokens


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def png(width: int, height: int) -> str:
    return encoded(b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0")


def jpeg(width: int, height: int) -> str:
    comment = b"\xff\xfe" + struct.pack(">H", 2002) + b"x" * 2000
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\0" * 9
    return encoded(b"\xff\xd8" + b"\xff\x01" + comment + frame)


def webp(kind: bytes, body: bytes) -> str:
    return encoded(b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + body)


@pytest.mark.parametrize(
    "data",
    [
        png(640, 480),
        jpeg(640, 480),
        encoded(b"GIF89a" + struct.pack("<HH", 640, 480) + b"\0"),
        webp(b"VP8X", b"\0" * 4 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")),
        webp(b"VP8 ", b"\0" * 6 + struct.pack("<HH", 640, 480)),
        webp(b"VP8L", b"\x2f" + (639 | 479 << 14).to_bytes(4, "little")),
    ],
    ids=["png", "jpeg", "gif", "webp extended", "webp lossy", "webp lossless"],
)
def test_sizes(data: str) -> None:
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "no base64!",
        "é",
        encoded(b"<svg/>"),
        png(0, 5),
        encoded(b"\x89PNG\r\n\x1a\n"),
        encoded(b"\xff\xd8\xff"),
        encoded(b"\xff\xd8\x00\x00"),
        encoded(b"\xff\xd8\xff\xfe\x00\x02" + b"\xff\xda\x00"),
        webp(b"ALPH", b""),
        webp(b"VP8 ", b""),
    ],
)
def test_what_has_no_size(data: str) -> None:
    assert image_size(data) is None


def test_rules_of_the_vendors() -> None:
    twelve_megapixels = png(4032, 3024)
    # Measured: 14,364 tokens on gpt-6-astra and 4,005 on Claude 5.5 for this size.
    assert 14_364 <= (image_tokens("openai", "gpt-6-astra", twelve_megapixels) or 0) <= 16_000
    assert 4_005 <= (image_tokens("anthropic", "claude-opus-5-5", twelve_megapixels) or 0) <= 5_000
    assert image_tokens("aws", "global.anthropic.claude-opus-5", "") == 5_000
    assert image_tokens("openai", "gpt-4o-mini", "") == 48_169
    assert (image_tokens("azure", "gpt-4o", png(32, 32)) or 0) >= 85 + 170 * 8
    assert image_tokens("openai", "gpt-6-astra", "AAAA") is None
    assert image_tokens("groq", "llama-4", twelve_megapixels) is None


def test_data_urls() -> None:
    assert data_url("data:image/png;base64,QUJD") == "QUJD"
    assert data_url("DATA:image/png;name=x;BASE64," + "A" * 1000) == "A" * 1000
    for other in ("https://x.test/a.png", "data:image/svg+xml,<svg/>", "data:image/png;base64"):
        assert data_url(other) is None


def test_audio_has_more_bytes_than_tokens() -> None:
    one_second_of_wav = encoded(b"\0" * 16_000)
    assert audio_tokens(one_second_of_wav) >= 16_000
